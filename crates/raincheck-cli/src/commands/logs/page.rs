//! The answers as one page with plots and with nothing to load.

use super::answer::{Answers, Of, Table, share, thousands};
use super::plot::Plot;
use super::tally::Count;
use super::time::Span;
use crate::report::figures;

const STYLE: &str = "
:root{color-scheme:light dark;--back:#eef1f5;--card:#fff;--ink:#1b2430;--soft:#5d6b7c;--line:#dde3ea;--bar:#3b7dd8;--tint:#3b7dd81f;
--client:#e0a021;--server:#d3453d}
@media (prefers-color-scheme:dark){:root{--back:#0c1116;--card:#161d25;--ink:#e3e9f0;--soft:#93a1b1;--line:#27313c;--bar:#5a9bf0;
--tint:#5a9bf030;--client:#e8b44c;--server:#f0675f}}
*{box-sizing:border-box}
body{margin:0;padding:28px 20px 60px;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1080px;margin:auto}
h1{font-size:24px;margin:0 0 4px}h2{font-size:16px;margin:0 0 10px}
p{margin:0;color:var(--soft)}p.caveat{margin:14px 0 0;padding:8px 12px;border-radius:8px;background:var(--server);color:#fff}
section{background:var(--card);border-radius:12px;padding:18px 20px;margin-top:18px;overflow-x:auto}
.figures{display:flex;flex-wrap:wrap;gap:8px 44px}
.figures b{display:block;font-size:24px;line-height:1.25}.figures span{color:var(--soft);font-size:13px}
table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}
th{color:var(--soft);font-weight:500;font-size:13px;text-align:right}
td,th{padding:3px 0 3px 18px;border-top:1px solid var(--line);white-space:nowrap;text-align:right}
tr:first-child th{border-top:0}
td.key,th.key{width:99%;max-width:0;text-align:left;overflow:hidden;text-overflow:ellipsis}
td.key{background:linear-gradient(var(--tint),var(--tint)) 12px 50%/0 100% no-repeat}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:11px}.grid{stroke:var(--line)}
.fine{fill:var(--bar)}.client{fill:var(--client)}.server{fill:var(--server)}g:hover>rect{opacity:.75}.area{fill:transparent}
.legend{display:flex;gap:18px;font-size:13px;color:var(--soft);margin-top:6px}
.legend i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
@media (max-width:600px){td:nth-child(n+3):not(.key),th:nth-child(n+3):not(.key){display:none}}
details{margin-top:8px}summary{cursor:pointer;color:var(--soft)}";

/// Draws the whole page.
pub(crate) fn draw(answers: &Answers) -> String {
    let headline = answers.headline();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}\n</style>\n<main>\n<h1>Access log</h1>\n<p>{}</p>\n",
        escape(&headline[0]),
        escape(headline[0].split_once(" from ").map_or("", |(_, between)| between)),
    );
    if let Some(caveat) = answers.caveat() {
        page += &format!("<p class=\"caveat\">{}</p>\n", escape(&caveat));
    }
    let Count { requests, bytes, client_errors, server_errors } = answers.total;
    page += "<section class=\"figures\">\n";
    for (figure, what) in [
        (thousands(requests), "requests"),
        (figures::bytes(bytes), "sent"),
        (thousands(client_errors), "client errors (4xx)"),
        (thousands(server_errors), "server errors (5xx)"),
        (thousands(answers.bad), "lines that could not be read"),
    ] {
        page += &format!("<div><b>{figure}</b><span>{what}</span></div>\n");
    }
    page += "</section>\n";
    for table in &answers.tables {
        page += &format!("<section>\n<h2>{}</h2>\n", escape(&table.title()));
        page += &match table.of {
            Of::Span(span) => {
                format!("{}<details><summary>As a table</summary>\n{}</details>\n", plots(table, span), rows(table))
            }
            Of::Field(_) => rows(table),
        };
        page += "</section>\n";
    }
    page + "</main>\n</html>\n"
}

/// A table, a bar behind each key.
fn rows(table: &Table) -> String {
    let exact = table.too_low_by.is_none();
    let is_span = matches!(table.of, Of::Span(_));
    let mut head = vec!["requests"];
    head.extend(table.has_visitors().then_some("visitors"));
    if exact {
        head.extend(["share", "sent", "4xx", "5xx"]);
    }
    let key = match table.of {
        Of::Field(field) => field.one(),
        Of::Span(span) => span.name(),
    };
    let cells: String = head.iter().map(|word| format!("<th>{word}</th>")).collect();
    let mut text = format!("<table>\n<tr>{cells}<th class=\"key\">{key}</th></tr>\n");
    let most = table.rows.iter().map(|row| row.count.requests).max().unwrap_or(0).max(1);
    for row in &table.rows {
        let Count { requests, bytes, client_errors, server_errors } = row.count;
        let mut cells = vec![thousands(requests)];
        cells.extend(row.visitors.map(thousands));
        if exact {
            let (client, server) = (thousands(client_errors), thousands(server_errors));
            cells.extend([share(requests, table.requests), figures::bytes(bytes), client, server]);
        }
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        let width = requests as f64 / most as f64 * 100.0;
        let key = escape(&figures::shown(&row.key));
        let bar = if is_span { String::new() } else { format!(" style=\"background-size:{width:.1}% 100%\"") };
        text += &format!("<tr>{cells}<td class=\"key\"{bar} title=\"{key}\">{key}</td></tr>\n");
    }
    if table.rows.is_empty() {
        text += "<tr><td class=\"key\">none</td></tr>\n";
    }
    text + "</table>\n"
}

/// Requests over time, and errors below.
fn plots(table: &Table, span: Span) -> String {
    let Some(plot) = Plot::of(&table.rows, span) else { return "<p>No request has a time.</p>\n".into() };
    let errors = plot.errors().unwrap_or_default();
    plot.requests()
        + &errors
        + "<div class=\"legend\"><span><i style=\"background:var(--bar)\"></i>requests</span>\
           <span><i style=\"background:var(--client)\"></i>client errors</span>\
           <span><i style=\"background:var(--server)\"></i>server errors</span></div>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_log_can_become_part_of_the_page() {
        assert_eq!(escape("\"><script>&"), "&quot;&gt;&lt;script&gt;&amp;");
    }
}
