//! The timeline as a picture that says at a glance why it got faster.
//!
//! It carries its own background and follows the reader's light or dark scheme. However many lanes and jobs there are,
//! it stays about a screen high and small enough to open: rows become thin, and bars too narrow to see run together.

use std::fmt::Write;
use std::time::Duration;

use super::super::figures;
use super::{Band, Bar, Ink, Timeline};

/// The measures of the picture, in its own units.
const WIDTH: f64 = 1000.0;
const MARGIN: f64 = 28.0;
const PLOT_LEFT: f64 = 158.0;
const PLOT_RIGHT: f64 = 872.0;
const FIRST_BAND: f64 = 92.0;
const BETWEEN_BANDS: f64 = 18.0;
const BAND_LEAST: f64 = 36.0;
const BAND_MOST: f64 = 152.0;
const ROW_IDEAL: f64 = 15.0;
/// Hovering over a bar says what it is; beyond so many bars that would only make the file heavy.
const MOST_TITLES: usize = 2000;

const LIGHT: &str = "\
.card{fill:#fff;stroke:#d5dce4}.track{fill:#f2f5f8}.grid{stroke:#d9e0e8}.text{fill:#1c2733}.mute{fill:#5b6876}
.total{fill:#1c2733;stroke:#f2f5f8}.speed{fill:#1d6fbf;stroke:#f2f5f8}.end{stroke:#1c2733}
.done{fill:#2f80d0}.not-found{fill:#eda32b}.failed{fill:#d6404e}.timed-out{fill:#8658c4}.cancelled,.not-begun{fill:#98a4b1}.retried{fill:#f2bd8e}
.on{fill:#fff}.on-not-found,.on-retried{fill:#3a2503}";

const DARK: &str = "\
.card{fill:#10161d;stroke:#2b3541}.track{fill:#19212b}.grid{stroke:#2c3744}.text{fill:#e8eef4}.mute{fill:#94a3b3}
.total{fill:#e8eef4;stroke:#19212b}.speed{fill:#6db5f7;stroke:#19212b}.end{stroke:#e8eef4}
.done{fill:#4495e6}.not-found{fill:#f0b24a}.failed{fill:#e85a66}.timed-out{fill:#a57fdd}.cancelled,.not-begun{fill:#6f7c8a}.retried{fill:#b98455}
.on{fill:#fff}.on-not-found,.on-retried{fill:#1e1300}";

const SHAPES: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif}
.title{font-size:21px;font-weight:700}.note{font-size:12.5px}.name{font-size:14.5px;font-weight:600}
.total{font-size:18px;font-weight:700}.speed{font-size:12.5px;font-weight:600}
.total,.speed{paint-order:stroke;stroke-width:4px;stroke-linejoin:round}
.grid{stroke-width:1}.end{stroke-width:1.5;stroke-dasharray:2 3;opacity:.55}";

/// Draws the whole picture.
pub(super) fn draw(timeline: &Timeline) -> String {
    let titles = timeline.bands().map(|band| band.bars.len()).sum::<usize>() <= MOST_TITLES;
    draw_bars(timeline, |svg, bars| match bars {
        [bar] if titles => {
            let _ = write!(svg, "><title>{}</title></rect>", escape(&hover(bar)));
        }
        _ => svg.push_str("/>"),
    })
}

/// Draws the picture, and lets the caller end each bar's `<rect`: with `/>`, or with more.
///
/// A bar too narrow to see is drawn as one with its neighbours, so that the caller gets at least one.
pub(super) fn draw_bars(timeline: &Timeline, mut end_bar: impl FnMut(&mut String, &[&Bar])) -> String {
    let longest = timeline.bands().map(Band::took).max().unwrap_or_default();
    let axis = Axis::up_to(longest);
    let heights: Vec<f64> = timeline.bands().map(|band| band_height(band.rows().len())).collect();
    let plot_bottom = FIRST_BAND + heights.iter().sum::<f64>() + BETWEEN_BANDS * (heights.len().max(1) - 1) as f64;
    let height = plot_bottom + 50.0;

    let mut svg = String::new();
    open(&mut svg, timeline, height);
    legend(&mut svg, timeline);
    let mut top = FIRST_BAND;
    for height in &heights {
        let width = PLOT_RIGHT - PLOT_LEFT;
        let _ = writeln!(
            svg,
            r#"<rect class="track" x="{PLOT_LEFT}" y="{top:.1}" width="{width}" height="{height:.1}" rx="4"/>"#
        );
        top += height + BETWEEN_BANDS;
    }
    axis.draw(&mut svg, plot_bottom);
    let mut top = FIRST_BAND;
    let first = timeline.bands().next().map(Band::took).unwrap_or_default();
    for (band, height) in timeline.bands().zip(&heights) {
        draw_band(&mut svg, band, &axis, top, *height, &mut end_bar);
        draw_total(&mut svg, band, &axis, top, *height, first);
        top += height + BETWEEN_BANDS;
    }
    svg.push_str("</svg>\n");
    svg
}

/// What a bar is, in a few lines of text.
pub(super) fn hover(bar: &Bar) -> String {
    let mut text = format!(
        "{}\n{} in {}, lane {}",
        bar.label,
        bar.ink.word(),
        figures::seconds(bar.end.saturating_sub(bar.start)),
        bar.lane
    );
    if bar.bytes > 0 {
        let _ = write!(text, ", {}", figures::bytes(bar.bytes));
    }
    if bar.attempt > 1 {
        let _ = write!(text, ", attempt {}", bar.attempt);
    }
    if let Some(detail) = &bar.detail {
        let _ = write!(text, "\n{detail}");
    }
    text
}

/// Text made fit to stand in XML, without the characters that XML cannot hold at all.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ if character.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn open(svg: &mut String, timeline: &Timeline, height: f64) {
    let title = escape(&timeline.title);
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" role="img" aria-label="{title}">"#
    );
    let _ = writeln!(svg, "<style>\n{SHAPES}\n{LIGHT}\n@media (prefers-color-scheme:dark){{\n{DARK}\n}}\n</style>");
    let (width, inner) = (WIDTH - 1.0, height.round() - 1.0);
    let _ = writeln!(svg, r#"<rect class="card" x=".5" y=".5" width="{width}" height="{inner}" rx="10"/>"#);
    let _ = writeln!(svg, r#"<text class="text title" x="{MARGIN}" y="42">{title}</text>"#);
}

/// Says what a row and a bar are, and which colours there are to tell apart.
fn legend(svg: &mut String, timeline: &Timeline) {
    let y = 68.0;
    let used: Vec<Ink> =
        Ink::all().filter(|ink| timeline.bands().any(|band| band.bars.iter().any(|bar| bar.ink == *ink))).collect();
    let lead = match used.as_slice() {
        [] => "Nothing ran.",
        _ => "One row per worker, one bar per job:",
    };
    let _ = writeln!(svg, r#"<text class="mute note" x="{MARGIN}" y="{y}">{lead}</text>"#);
    let mut x = MARGIN + text_width(lead, 12.5) + 14.0;
    for ink in used {
        let (key, word) = (ink.key(), ink.word());
        let _ =
            writeln!(svg, r#"<rect class="{key}" x="{x:.1}" y="{:.1}" width="11" height="11" rx="2.5"/>"#, y - 10.0);
        let _ = writeln!(svg, r#"<text class="mute note" x="{:.1}" y="{y}">{word}</text>"#, x + 16.0);
        x += 16.0 + text_width(word, 12.5) + 18.0;
    }
}

fn band_height(rows: usize) -> f64 {
    (rows as f64 * ROW_IDEAL).clamp(BAND_LEAST, BAND_MOST)
}

fn draw_band(
    svg: &mut String,
    band: &Band,
    axis: &Axis,
    top: f64,
    height: f64,
    end_bar: &mut impl FnMut(&mut String, &[&Bar]),
) {
    let middle = top + height / 2.0;
    let name = escape(&cut(&band.name, PLOT_LEFT - MARGIN - 10.0, 14.5));
    let rows = band.rows();
    let jobs = figures::count(band.jobs, "job");
    let lanes = figures::count(rows.len() as u64, "lane");
    let about = match format!("{jobs} on {lanes}") {
        _ if rows.len() == 1 => jobs,
        both if text_width(&both, 12.5) <= PLOT_LEFT - MARGIN => both,
        _ => lanes,
    };
    let _ = writeln!(svg, r#"<text class="text name" x="{MARGIN}" y="{:.1}">{name}</text>"#, middle - 2.0);
    let _ = writeln!(svg, r#"<text class="mute note" x="{MARGIN}" y="{:.1}">{about}</text>"#, middle + 15.0);

    let row_height = height / rows.len() as f64;
    // Rows are parted by a line of background as long as there is room for one.
    let gap = match row_height {
        6.0.. => 1.5,
        2.5.. => 0.6,
        _ => 0.0,
    };
    for (row, bars) in rows.values().enumerate() {
        let y = top + row as f64 * row_height + gap / 2.0;
        for together in runs(bars, |bar| axis.x(bar.start.saturating_sub(band.began))) {
            let bar = together[0];
            let left = axis.x(bar.start.saturating_sub(band.began));
            let right = axis.x(together[together.len() - 1].end.saturating_sub(band.began));
            draw_bar(svg, together, left, right, y, row_height - gap, end_bar);
        }
    }
}

/// Parts a row where the eye can: a stretch of bars of one colour that begin within half a unit of each other is one.
fn runs<'a, 'b>(bars: &'a [&'b Bar], left: impl Fn(&Bar) -> f64) -> impl Iterator<Item = &'a [&'b Bar]> {
    bars.chunk_by(move |one, next| one.ink == next.ink && left(next) - left(one) < 0.5)
}

fn draw_bar(
    svg: &mut String,
    bars: &[&Bar],
    left: f64,
    right: f64,
    y: f64,
    height: f64,
    end_bar: &mut impl FnMut(&mut String, &[&Bar]),
) {
    let key = bars[0].ink.key();
    // Jobs that follow on each other's heels are parted too; none becomes too thin to see.
    let width = (right - left - if right - left > 2.5 { 0.8 } else { 0.0 }).max(0.5);
    let _ = write!(svg, r#"<rect class="{key}" x="{left:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}""#);
    if height >= 5.0 && width >= 5.0 {
        svg.push_str(r#" rx="2""#);
    }
    end_bar(svg, bars);
    svg.push('\n');
    let size = (height - 3.0).min(11.0);
    let [bar] = bars else { return };
    if size < 8.5 {
        return;
    }
    if let Some(label) = label_within(&bar.label, width - 8.0, size) {
        let baseline = y + height / 2.0 + size * 0.36;
        let _ = writeln!(
            svg,
            r#"<text class="on on-{key}" x="{:.2}" y="{baseline:.2}" font-size="{size:.1}" pointer-events="none">{}</text>"#,
            left + 4.0,
            escape(label)
        );
    }
}

/// The label if it fits; or else, of a URL or a path, its last part.
fn label_within(label: &str, width: f64, size: f64) -> Option<&str> {
    let last = label.trim_end_matches('/').rsplit('/').next().unwrap_or(label);
    [label, last].into_iter().find(|text| !text.is_empty() && text_width(text, size) <= width)
}

/// Writes where the last bar ends how long it all took, and what that is against the first style.
fn draw_total(svg: &mut String, band: &Band, axis: &Axis, top: f64, height: f64, first: Duration) {
    let took = band.took();
    let end = axis.x(took);
    let (bottom, middle, x) = (top + height, top + height / 2.0, end + 10.0);
    let _ = writeln!(svg, r#"<line class="end" x1="{end:.1}" y1="{top:.1}" x2="{end:.1}" y2="{bottom:.1}"/>"#);
    let total = figures::seconds(took);
    let times = first.as_secs_f64() / took.as_secs_f64().max(1e-9);
    if times < 1.05 {
        let _ = writeln!(svg, r#"<text class="total" x="{x:.1}" y="{:.1}">{total}</text>"#, middle + 6.5);
        return;
    }
    let times = match times {
        100.0.. => format!("{times:.0}× as fast"),
        _ => format!("{times:.1}× as fast"),
    };
    let _ = writeln!(svg, r#"<text class="total" x="{x:.1}" y="{:.1}">{total}</text>"#, middle - 1.0);
    let _ = writeln!(svg, r#"<text class="speed" x="{x:.1}" y="{:.1}">{times}</text>"#, middle + 15.5);
}

/// The axis of time that all bands share.
struct Axis {
    longest: f64,
    step: f64,
}

impl Axis {
    /// An axis with a handful of round ticks.
    fn up_to(longest: Duration) -> Self {
        let longest = longest.as_secs_f64().max(1e-6);
        let mut steps: Vec<f64> =
            (-6..=1).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(power))).collect();
        steps.retain(|step| *step < 15.0);
        steps.extend([
            15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14_400.0, 21_600.0, 43_200.0,
        ]);
        let step = steps
            .into_iter()
            .find(|step| longest / step <= 9.0)
            .unwrap_or((longest / 9.0 / 86_400.0).ceil() * 86_400.0);
        Self { longest, step }
    }

    /// Where on the picture this time stands.
    fn x(&self, time: Duration) -> f64 {
        PLOT_LEFT + (PLOT_RIGHT - PLOT_LEFT) * time.as_secs_f64() / self.longest
    }

    fn draw(&self, svg: &mut String, bottom: f64) {
        let ticks = (self.longest / self.step + 1e-9) as u32;
        for tick in 0..=ticks {
            let time = Duration::from_secs_f64(self.step * f64::from(tick));
            let x = self.x(time);
            let _ = writeln!(
                svg,
                r#"<line class="grid" x1="{x:.1}" y1="{FIRST_BAND}" x2="{x:.1}" y2="{:.1}"/>"#,
                bottom + 6.0
            );
            let _ = writeln!(
                svg,
                r#"<text class="mute note" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 23.0,
                self.label(time)
            );
        }
    }

    fn label(&self, time: Duration) -> String {
        let seconds = time.as_secs_f64();
        match self.step {
            _ if time.is_zero() => "0".into(),
            ..0.001 => format!("{:.0} µs", seconds * 1e6),
            ..1.0 if self.longest < 1.0 => format!("{:.0} ms", seconds * 1e3),
            ..1.0 => format!("{seconds:.1} s"),
            ..60.0 if self.longest < 120.0 => format!("{seconds:.0} s"),
            ..60.0 => format!("{}:{:02} min", time.as_secs() / 60, time.as_secs() % 60),
            ..3600.0 if self.longest < 7200.0 => format!("{} min", time.as_secs() / 60),
            _ => format!("{}:{:02} h", time.as_secs() / 3600, time.as_secs() % 3600 / 60),
        }
    }
}

/// About how wide a text is. Fonts differ, so this errs on the wide side.
fn text_width(text: &str, size: f64) -> f64 {
    let ems: f64 = text
        .chars()
        .map(|character| match character {
            'i' | 'j' | 'l' | 't' | 'f' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.34,
            'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.92,
            'A'..='Z' => 0.70,
            '\0'..='\u{7f}' => 0.59,
            _ if console::measure_text_width(character.encode_utf8(&mut [0; 4])) > 1 => 1.1,
            _ => 0.66,
        })
        .sum();
    ems * size
}

/// The text, cut with an ellipsis to fit.
fn cut(text: &str, width: f64, size: f64) -> String {
    if text_width(text, size) <= width {
        return text.into();
    }
    let mut kept = String::new();
    for character in text.chars() {
        kept.push(character);
        if text_width(&kept, size) + size > width {
            break;
        }
    }
    kept + "…"
}

#[cfg(test)]
pub(super) mod samples {
    use super::super::super::event::{Event, Status};
    use super::super::super::jobs::script::*;
    use super::super::Timeline;

    /// The same downloads in three styles, each job as long as its number says.
    pub(in super::super) fn three_styles(jobs: u64, lanes: [usize; 3]) -> Timeline {
        let mut timeline = Timeline::new("raincheck flags");
        let mut events: Vec<Event> = Vec::new();
        let mut now = 0;
        for (name, lanes) in ["one by one", "threads", "tokio"].into_iter().zip(lanes) {
            events.push(style(now, name));
            let mut free = vec![now; lanes];
            for number in 0..jobs {
                let job = events.len() as u64;
                let lane = (0..lanes).min_by_key(|lane| free[*lane]).unwrap();
                let start = free[lane] + 1;
                let end = start + 60 + number * number * 7919 % 240;
                events.extend([
                    submitted(job, &format!("http://127.0.0.1:8000/flags/{number}/flag-{number}.gif")),
                    started(start, job, lane),
                ]);
                events.push(match number % 23 {
                    7 => ended(end, job, Status::NotFound, "404 Not Found"),
                    15 => ended(end, job, Status::Failed, "connection reset <&>"),
                    _ => done(end, job, 1000 * number),
                });
                free[lane] = end;
            }
            now = *free.iter().max().unwrap();
        }
        replay(&events, &mut timeline);
        timeline
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::event::Status;
    use super::super::super::jobs::script::*;
    use super::samples::three_styles;
    use super::*;

    #[test]
    fn labels_cannot_break_the_picture() {
        let mut timeline = Timeline::new("a <b> & \"c\"");
        let label = "</title><script>\u{1}&";
        replay(
            &[style(0, "<i>"), submitted(0, label), started(0, 0, 0), ended(9, 0, Status::Failed, "<&>")],
            &mut timeline,
        );

        let svg = draw(&timeline);
        assert!(svg.contains("a &lt;b&gt; &amp; &quot;c&quot;"));
        assert!(svg.contains(
            "<title>&lt;/title&gt;&lt;script&gt;\u{fffd}&amp;\nfailed in 9 ms, lane 0\n&lt;&amp;&gt;</title>"
        ));
        assert!(!svg.contains("<script") && !svg.contains("<i>"));
    }

    #[test]
    fn each_style_says_its_time_and_what_it_gained() {
        let mut timeline = Timeline::new("t");
        let events = [
            style(0, "one by one"),
            submitted(0, "a"),
            started(0, 0, 0),
            done(9000, 0, 0),
            style(9000, "threads"),
            submitted(1, "a"),
            started(9000, 1, 0),
            done(12_000, 1, 0),
        ];
        replay(&events, &mut timeline);

        let svg = draw(&timeline);
        assert!(svg.contains(">9.00 s</text>") && svg.contains(">3.00 s</text>"));
        assert_eq!(svg.matches("× as fast").count(), 1, "the first style is what the others are measured by");
        assert!(svg.contains(">3.0× as fast</text>"));
    }

    #[test]
    fn a_bar_is_named_if_the_name_or_its_last_part_fits() {
        assert_eq!(label_within("http://a/b/c.gif", 200.0, 11.0), Some("http://a/b/c.gif"));
        assert_eq!(label_within("http://a/b/c.gif", 40.0, 11.0), Some("c.gif"));
        assert_eq!(label_within("http://a/b/c.gif", 10.0, 11.0), None);
        assert_eq!(label_within("folder/", 200.0, 11.0), Some("folder/"));
    }

    #[test]
    fn however_much_ran_the_picture_stays_small() {
        let svg = draw(&three_styles(20_000, [1, 64, 500]));

        assert!(svg.len() < 1_000_000, "{} bytes", svg.len());
        let height: f64 = svg.split("height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        assert!(height < 700.0, "{height} high");
    }

    #[test]
    fn nothing_ran_is_a_picture_too() {
        assert!(draw(&Timeline::new("raincheck run")).contains("Nothing ran."));
    }

    #[test]
    fn ticks_are_round() {
        let ticks = |ms: u64| {
            let axis = Axis::up_to(Duration::from_millis(ms));
            [1, 2].map(|tick| axis.label(Duration::from_secs_f64(axis.step * f64::from(tick))))
        };

        assert_eq!(ticks(12_400), ["2 s", "4 s"]);
        assert_eq!(ticks(1_230), ["0.2 s", "0.4 s"]);
        assert_eq!(ticks(350), ["50 ms", "100 ms"]);
        assert_eq!(ticks(200_000), ["0:30 min", "1:00 min"]);
        assert_eq!(ticks(4_100_000), ["10 min", "20 min"]);
        assert_eq!(ticks(30_000_000), ["1:00 h", "2:00 h"]);
    }
}
