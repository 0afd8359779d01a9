//! The timeline as one page with nothing to load: the picture, and the details of each bar under the pointer.

use super::super::figures;
use super::svg;
use super::{Bar, Timeline};

const STYLE: &str = "
html{color-scheme:light dark}
body{margin:0;padding:24px;background:#e9edf2;font:14px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
svg{display:block;width:100%;max-width:1600px;height:auto;margin:auto}
rect[data-bar]:hover{opacity:.72;cursor:default}
#tip{position:fixed;display:none;max-width:46ch;padding:8px 11px;border-radius:7px;background:#10161d;color:#e8eef4;
box-shadow:0 3px 14px #0006;white-space:pre-wrap;overflow-wrap:anywhere;pointer-events:none}
@media (prefers-color-scheme:dark){body{background:#05080b}#tip{background:#2b3541}}";

const SCRIPT: &str = "
const details = JSON.parse(document.getElementById('details').textContent);
const tip = document.getElementById('tip');
document.querySelector('svg').addEventListener('pointermove', event => {
  const bar = event.target.dataset?.bar;
  tip.style.display = bar === undefined ? 'none' : 'block';
  if (bar === undefined) return;
  tip.textContent = details[bar];
  const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  const below = event.clientY + 18;
  const top = below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : below;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${top}px`;
});
document.querySelector('svg').addEventListener('pointerleave', () => { tip.style.display = 'none'; });";

/// Draws the whole page.
pub(super) fn draw(timeline: &Timeline) -> String {
    let mut details: Vec<String> = Vec::new();
    let picture = svg::draw_bars(timeline, |svg, bars| {
        svg.push_str(&format!(r#" data-bar="{}"/>"#, details.len()));
        details.push(detail(bars));
    });
    let title = svg::escape(&timeline.title);
    // A label must not be able to end the script element it stands in.
    let details = serde_json::to_string(&details).expect("text is always JSON").replace('<', "\\u003c");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}\n</style>\n{picture}<div id=\"tip\" role=\"tooltip\"></div>\n\
         <script type=\"application/json\" id=\"details\">{details}</script>\n<script>{SCRIPT}\n</script>\n</html>\n"
    )
}

/// What stands under the pointer: one job, or how many too narrow to point at.
fn detail(bars: &[&Bar]) -> String {
    match bars {
        [bar] => svg::hover(bar),
        _ => {
            let (first, last) = (bars[0], bars[bars.len() - 1]);
            format!(
                "{} {} in {}, lane {}\nfrom {}\nto {}",
                figures::count(bars.len() as u64, "job"),
                first.ink.word(),
                figures::seconds(last.end.saturating_sub(first.start)),
                first.lane,
                first.label,
                last.label
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::jobs::script::*;
    use super::*;

    #[test]
    fn every_bar_has_its_details_and_no_label_ends_the_script() {
        let mut timeline = Timeline::new("t");
        let events = [
            style(0, "threads"),
            submitted(0, "</script><b>"),
            started(0, 0, 4),
            done(2000, 0, 5000),
            submitted(1, "b"),
        ];
        replay(&events, &mut timeline);

        let page = draw(&timeline);
        assert_eq!(page.matches("data-bar=").count(), 1, "one bar");
        assert!(page.contains(r#"["\u003c/script>\u003cb>\ndone in 2.00 s, lane 4, 5.0 kB"]"#));
    }
}
