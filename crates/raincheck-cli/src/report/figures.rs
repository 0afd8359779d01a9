//! Numbers and names as people read them.

use std::time::Duration;

/// So many characters of a name are told. A whole file may pass for one, where it should have been cut at NUL bytes.
const LONGEST: usize = 1000;

/// A length of time: `340 ms`, `1.23 s`, `12.3 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.9995 {
        return format!("{:.0} ms", seconds * 1e3);
    }
    if seconds < 9.995 {
        return format!("{seconds:.2} s");
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        ..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A time that is only guessed: `12 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn about(time: Duration) -> String {
    let whole = time.as_secs_f64().ceil() as u64;
    match whole {
        ..60 => format!("{whole} s"),
        _ => seconds(Duration::from_secs(whole)),
    }
}

/// An amount of data, in powers of a thousand: `999 B`, `45.2 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        // What would be shown as `1000.0` is one of the next unit.
        if size < 999.95 {
            break;
        }
        size /= 1000.0;
        unit = larger;
    }
    format!("{size:.1} {unit}")
}

/// A count with its noun: `1 job`, `200 jobs`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    count_of(number, noun, &format!("{noun}s"))
}

/// The same for nouns whose plural takes more than an `s`.
pub(crate) fn count_of(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A name from outside made fit for a terminal: what could move the cursor or break the line shows as `\u{1b}`.
pub(crate) fn shown(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character.is_control() {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    text
}

/// The same in a line of text, where what is very long is cut off.
pub(crate) fn in_short(name: &str) -> String {
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => shown(&name[..end]) + "\u{2026}",
        None => shown(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_keep_about_three_digits() {
        let shown = [0, 340, 999, 1_234, 9_999, 12_345, 59_990, 200_000, 7_500_000]
            .map(|ms| seconds(Duration::from_millis(ms)));

        assert_eq!(
            shown,
            ["0 ms", "340 ms", "999 ms", "1.23 s", "10.0 s", "12.3 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]
        );
    }

    #[test]
    fn bytes_never_show_four_digits_before_the_point() {
        let shown = [0, 999, 1_000, 45_200_000, 999_960, u64::MAX].map(bytes);

        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "45.2 MB", "1.0 MB", "18.4 EB"]);
    }

    #[test]
    fn a_name_that_is_a_whole_file_is_cut_off() {
        assert_eq!(in_short("a\0"), "a\\u{0}");
        assert_eq!(in_short(&"\u{e9}".repeat(1000)).chars().count(), 1000);
        assert_eq!(in_short(&"\0".repeat(1_000_000)), "\\u{0}".repeat(1000) + "\u{2026}");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(shown("a\x1b[2J\nb é"), "a\\u{1b}[2J\\nb é");
    }
}
