//! What happened over time, as a picture.

use super::answer::{Row, share, thousands};
use super::tally::Count;
use super::time::Span;

/// More bars than this would be too narrow to see; neighbours are then drawn as one.
const MOST_BARS: i64 = 240;
const WIDEST_BAR: f64 = 48.0;
const WIDTH: f64 = 1000.0;
/// Room for the figures at the left, for the topmost figure, and for the times below.
const LEFT: f64 = 58.0;
const ABOVE: f64 = 8.0;
const BELOW: f64 = 22.0;

/// Spans of time in a row, each or some of them together as one bar.
pub(crate) struct Plot {
    span: Span,
    first: i64,
    /// So many spans are one bar.
    together: i64,
    bars: Vec<Count>,
}

/// One kind of what a bar is made of: its class in the page's style, and how much of it there is.
type Part = (&'static str, fn(&Count) -> u64);

const SERVER: Part = ("server", |count| count.server_errors);
const CLIENT: Part = ("client", |count| count.client_errors);
const FINE: Part = ("fine", |count| count.requests - count.client_errors - count.server_errors);

impl Plot {
    /// Of rows in the order of time. None if there are none.
    pub(crate) fn of(rows: &[Row], span: Span) -> Option<Self> {
        let (first, last) = (rows.first()?.span, rows.last()?.span);
        // Time goes on where nothing happened, so those bars are empty and not left out.
        let spans = last - first + 1;
        let together = (spans + MOST_BARS - 1) / MOST_BARS;
        let mut bars = vec![Count::default(); ((spans + together - 1) / together) as usize];
        for row in rows {
            bars[((row.span - first) / together) as usize].add(row.count);
        }
        Some(Self { span, first, together, bars })
    }

    /// All requests, errors at the bottom.
    pub(crate) fn requests(&self) -> String {
        self.draw("requests", 200.0, &[SERVER, CLIENT, FINE])
    }

    /// The errors alone, which are often too few to see among all requests. None if there are none.
    pub(crate) fn errors(&self) -> Option<String> {
        let any = self.bars.iter().any(|bar| bar.client_errors + bar.server_errors > 0);
        any.then(|| self.draw("errors", 120.0, &[SERVER, CLIENT]))
    }

    fn draw(&self, name: &str, height: f64, parts: &[Part]) -> String {
        let high = height - ABOVE - BELOW;
        let sum = |bar: &Count| parts.iter().map(|(_, part)| part(bar)).sum();
        let most = nice(self.bars.iter().map(sum).max().unwrap_or(0));
        let y = |number: u64| ABOVE + high - number as f64 / most as f64 * high;
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{name} over time\">\n");
        for quarter in 0..=4 {
            let number = most / 4 * quarter;
            let (at, left) = (y(number), LEFT - 8.0);
            svg += &format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{left}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                at + 4.0,
                thousands(number)
            );
        }
        let step = (WIDTH - LEFT) / self.bars.len() as f64;
        let width = (step * 0.85).max(step - 4.0).min(WIDEST_BAR);
        for (index, bar) in self.bars.iter().enumerate() {
            let left = LEFT + index as f64 * step;
            svg += &format!("<g><title>{}</title>", self.told(index, bar));
            // The whole column tells, and not only what is drawn of it.
            svg +=
                &format!("<rect class=\"area\" x=\"{left:.2}\" y=\"{ABOVE}\" width=\"{step:.2}\" height=\"{high}\"/>");
            let x = left + (step - width) / 2.0;
            let mut below = 0;
            for (class, part) in parts {
                let (top, bottom) = (y(below + part(bar)), y(below));
                if top < bottom {
                    let tall = bottom - top;
                    svg += &format!(
                        "<rect class=\"{class}\" x=\"{x:.2}\" y=\"{top:.2}\" width=\"{width:.2}\" height=\"{tall:.2}\"/>"
                    );
                }
                below += part(bar);
            }
            svg += "</g>\n";
        }
        // Some six times below, each under its bar.
        for index in (0..self.bars.len()).step_by((self.bars.len() / 6).max(1)) {
            let x = LEFT + (index as f64 + 0.5) * step;
            let anchor = if x > WIDTH - 60.0 { "end" } else { "middle" };
            let label = self.label(index);
            svg += &format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{label}</text>\n", height - 4.0);
        }
        svg + "</svg>\n"
    }

    fn label(&self, index: usize) -> String {
        self.span.shown(self.first + index as i64 * self.together)
    }

    /// What stands under the pointer.
    fn told(&self, index: usize, bar: &Count) -> String {
        let Count { requests, client_errors, server_errors, .. } = *bar;
        format!(
            "{}\n{} requests\n{} client errors ({})\n{} server errors ({})",
            self.label(index),
            thousands(requests),
            thousands(client_errors),
            share(client_errors, requests),
            thousands(server_errors),
            share(server_errors, requests),
        )
    }
}

/// The next number at which an axis may end, so that its quarters are whole.
fn nice(number: u64) -> u64 {
    let powers = (0..17).map(|power| 4 * 10_u64.pow(power));
    powers.flat_map(|power| [power, 2 * power, 5 * power]).find(|end| *end >= number).unwrap_or(u64::MAX / 4 * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(span: i64, requests: u64, client_errors: u64) -> Row {
        Row { key: String::new(), span, count: Count { requests, client_errors, ..Count::default() }, visitors: None }
    }

    #[test]
    fn an_axis_ends_at_a_number_with_whole_quarters() {
        assert_eq!([0, 4, 5, 9, 21, 41, 1_000_000].map(nice), [4, 4, 8, 20, 40, 80, 2_000_000]);
    }

    #[test]
    fn a_span_in_which_nothing_happened_is_a_gap() {
        let plot = Plot::of(&[row(10, 4, 1), row(13, 8, 0)], Span::Day).unwrap();

        assert_eq!(plot.bars.iter().map(|bar| bar.requests).collect::<Vec<_>>(), [4, 0, 0, 8]);
        assert_eq!(plot.requests().matches("<rect class=\"fine\"").count(), 2);
        assert_eq!(plot.errors().unwrap().matches("<rect class=\"client\"").count(), 1);
    }

    #[test]
    fn however_long_the_time_the_bars_are_few_and_nothing_is_lost() {
        let plot = Plot::of(&[row(0, 1, 0), row(500, 2, 0), row(4_000_000_000, 3, 0)], Span::Minute).unwrap();

        assert_eq!(plot.bars.len() as i64, MOST_BARS);
        assert_eq!(plot.bars.iter().map(|bar| bar.requests).sum::<u64>(), 6);
        assert!(plot.errors().is_none());
        assert!(Plot::of(&[], Span::Day).is_none());
    }
}
