//! Logs that never happened, to try things on: the same for the same seed, on every machine.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::time;

/// The first day of a sample: 1 January 2025.
const FIRST_DAY: i64 = 20_089;
const DAY: i64 = 86_400;
/// So long are lines on average, to tell the time of day by.
const USUAL_LINE: u64 = 190;

/// How much of a sample there is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Amount {
    Lines(u64),
    Bytes(u64),
}

/// What a sample is like.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) hosts: usize,
    pub(crate) paths: usize,
    /// How many of a million lines are none.
    pub(crate) bad_per_million: u64,
    pub(crate) format: SampleFormat,
}

/// How its lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SampleFormat {
    Common,
    Combined,
    Vhost,
}

impl Amount {
    /// As much as this for each of so many files.
    pub(crate) fn of_each(self, files: u64) -> Self {
        match self {
            Self::Lines(lines) => Self::Lines(lines / files),
            Self::Bytes(bytes) => Self::Bytes(bytes / files),
        }
    }
}

const ROBOTS: [&str; 6] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "curl/8.5.0",
];

const BROWSERS: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
    // With quotes in it, as the log has them.
    "Mozilla/4.0 (compatible; \\\"Feed Reader\\\" 2.1)",
];

const WORDS: [&str; 16] = [
    "blog", "articles", "images", "projects", "tags", "archive", "rain", "check", "futures", "threads", "weather",
    "umbrella", "clouds", "notes", "slides", "puddle",
];

const ENDINGS: [&str; 8] = ["/", ".html", ".png", ".css", ".js", "/", ".jpg", ".pdf"];

/// What is asked for in vain.
const MISSING: [&str; 6] =
    ["/wp-login.php", "/favicon.png", "/.env", "/xmlrpc.php", "/apple-touch-icon.png", "/caf\\xe9.html"];

const SITES: [&str; 3] = ["www.example.com", "blog.example.com", "example.org"];

/// How busy each hour of the day is, compared with the others.
const HOURS: [u64; 24] = [3, 2, 2, 1, 1, 2, 3, 5, 7, 8, 9, 9, 8, 8, 9, 9, 8, 7, 7, 8, 9, 8, 6, 4];

/// Writes one log: that of one day, counted from the first.
///
/// # Errors
///
/// What the writer said.
pub(crate) fn write(out: &mut impl Write, shape: &Shape, amount: Amount, day: u64) -> io::Result<u64> {
    let mut sample = Sample::new(shape, day);
    let mut line = Vec::new();
    let (mut lines, mut bytes) = (0, 0);
    loop {
        let (done, all) = match amount {
            Amount::Lines(all) => (lines, all),
            Amount::Bytes(all) => (bytes, all),
        };
        if done >= all {
            return Ok(bytes);
        }
        line.clear();
        sample.line(&mut line, done as f64 / all.max(USUAL_LINE) as f64);
        out.write_all(&line)?;
        lines += 1;
        bytes += line.len() as u64;
    }
}

struct Sample<'s> {
    shape: &'s Shape,
    dice: Dice,
    hosts: Ranks,
    paths: Ranks,
    day: i64,
    /// Seconds of the day, and how that is written.
    clock: (i64, String),
}

impl<'s> Sample<'s> {
    fn new(shape: &'s Shape, day: u64) -> Self {
        let dice = Dice(mix(shape.seed ^ mix(day.wrapping_add(1))));
        let (hosts, paths) = (Ranks::new(shape.hosts), Ranks::new(shape.paths));
        let day = FIRST_DAY + day as i64;
        Self { shape, dice, hosts, paths, day, clock: (0, time::common(day * DAY)) }
    }

    /// Adds a line, written when so much of the day's requests had come.
    fn line(&mut self, line: &mut Vec<u8>, done: f64) {
        let start = line.len();
        self.request(line, done);
        if self.dice.roll(1_000_000) < self.shape.bad_per_million {
            match self.dice.roll(3) {
                0 => line.truncate(start + self.dice.roll((line.len() - start) as u64 / 2) as usize),
                1 => line.splice(start.., *b"-- rotated --").for_each(drop),
                _ => line.splice(start.., *b"\xff\xfe\x00 not text").for_each(drop),
            }
        }
        line.push(b'\n');
    }

    fn request(&mut self, line: &mut Vec<u8>, done: f64) {
        let second = second_of_day(done);
        if second != self.clock.0 {
            self.clock = (second, time::common(self.day * DAY + second));
        }
        let who = self.hosts.draw(&mut self.dice) as u64;
        let traits = mix(self.shape.seed ^ who.wrapping_mul(0x9e37_79b9));
        let is_robot = traits.is_multiple_of(12);
        let agent = match is_robot {
            true => ROBOTS[(traits >> 8) as usize % ROBOTS.len()],
            false => BROWSERS[(traits >> 8) as usize % BROWSERS.len()],
        };
        if self.shape.format == SampleFormat::Vhost {
            put(line, format_args!("{}:443 ", SITES[self.dice.roll(SITES.len() as u64) as usize]));
        }
        match traits >> 16 & 7 {
            0 => put(line, format_args!("2001:db8:{:x}::{:x}", traits >> 20 & 0xffff, who + 1)),
            _ => {
                let [_, a, b, c] = (who as u32).to_be_bytes();
                put(line, format_args!("{}.{}.{}.{}", 11 + (traits >> 24) % 180, a ^ 77, b, c));
            }
        }
        let user = if self.dice.roll(300) == 0 { "alice" } else { "-" };
        put(line, format_args!(" - {user} [{}] \"", self.clock.1));
        if self.dice.roll(2000) == 0 {
            put(line, format_args!("\\x16\\x03\\x01\\x02\" 400 -"));
            return self.ending(line, "-", "-");
        }
        let method = ["POST", "HEAD"].get(self.dice.roll(30) as usize).unwrap_or(&"GET");
        put(line, format_args!("{method} "));
        let status = self.path(line, is_robot);
        let protocol = if traits >> 40 & 1 == 0 { "HTTP/1.1" } else { "HTTP/2.0" };
        put(line, format_args!(" {protocol}\" {status} "));
        match status {
            304 => line.push(b'-'),
            200 | 206 => put(line, format_args!("{}", 200 + self.dice.roll(1 << (8 + self.dice.0 % 9)))),
            _ => put(line, format_args!("{}", 150 + self.dice.roll(400))),
        }
        let referrer = match self.dice.roll(10) {
            _ if is_robot => "-",
            0..=3 => "-",
            4..=7 => "https://www.example.com/blog/",
            8 => "https://www.google.com/",
            _ => "https://duckduckgo.com/",
        };
        self.ending(line, referrer, agent);
    }

    /// Writes what is asked for, and returns what came of it.
    fn path(&mut self, line: &mut Vec<u8>, is_robot: bool) -> u16 {
        if is_robot && self.dice.roll(40) == 0 {
            line.extend_from_slice(b"/robots.txt");
            return 200;
        }
        let status = match self.dice.roll(1000) {
            0..=59 => 304,
            60..=89 => 404,
            90..=109 => 301,
            110..=113 => 206,
            114..=119 => 403,
            120..=123 => 500,
            124 => 503,
            _ => 200,
        };
        if status == 404 {
            line.extend_from_slice(MISSING[self.dice.roll(MISSING.len() as u64) as usize].as_bytes());
            return status;
        }
        let page = self.paths.draw(&mut self.dice);
        let word = |index: usize| WORDS[index % WORDS.len()];
        match page {
            0 => line.push(b'/'),
            _ => {
                put(
                    line,
                    format_args!("/{}/{}-{page}{}", word(page), word(page / 7 + 3), ENDINGS[page % ENDINGS.len()]),
                );
            }
        }
        if self.dice.roll(16) == 0 {
            put(line, format_args!("?page={}&ref={}", self.dice.roll(9), word(self.dice.roll(16) as usize)));
        }
        status
    }

    fn ending(&self, line: &mut Vec<u8>, referrer: &str, agent: &str) {
        if self.shape.format != SampleFormat::Common {
            put(line, format_args!(" \"{referrer}\" \"{agent}\""));
        }
    }
}

fn put(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("writing into memory does not fail");
}

/// When so much of the day's requests had come.
fn second_of_day(done: f64) -> i64 {
    let mut left = done * HOURS.iter().sum::<u64>() as f64;
    for (hour, share) in HOURS.iter().enumerate() {
        if left < *share as f64 {
            return hour as i64 * 3600 + (left / *share as f64 * 3600.0) as i64;
        }
        left -= *share as f64;
    }
    DAY - 1
}

/// Draws the first most often, the second half as often, the third a third: as hosts and pages come in logs.
struct Ranks(Vec<f64>);

impl Ranks {
    fn new(number: usize) -> Self {
        let mut sum = 0.0;
        Self(
            (1..=number.max(1))
                .map(|rank| {
                    sum += 1.0 / rank as f64;
                    sum
                })
                .collect(),
        )
    }

    fn draw(&self, dice: &mut Dice) -> usize {
        let all = self.0.last().copied().unwrap_or_default();
        // The upper 53 bits, as many as a float has.
        let at = (dice.next() >> 11) as f64 / (1_u64 << 53) as f64 * all;
        self.0.partition_point(|sum| *sum <= at).min(self.0.len() - 1)
    }
}

/// Numbers as if by chance (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// One of 0 to this, without it.
    fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides.max(1)
    }
}

fn mix(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::line::Parser;
    use super::*;

    fn shape(seed: u64) -> Shape {
        Shape { seed, hosts: 500, paths: 300, bad_per_million: 10_000, format: SampleFormat::Combined }
    }

    fn sample(seed: u64, amount: Amount) -> Vec<u8> {
        let mut log = Vec::new();
        write(&mut log, &shape(seed), amount, 0).unwrap();
        log
    }

    #[test]
    fn a_seed_makes_one_log_and_another_seed_another() {
        let lines = Amount::Lines(2000);

        assert!(sample(1, lines) == sample(1, lines));
        assert!(sample(1, lines) != sample(2, lines));
        let first = String::from_utf8(sample(1, Amount::Lines(1))).unwrap();
        assert!(first.contains("[01/Jan/2025:00:00:00 +0000]"), "{first}");
    }

    #[test]
    fn it_is_as_large_as_was_asked_for_and_as_bad() {
        let log = sample(1, Amount::Lines(20_000));
        let mut parser = Parser::new(Format::parse("combined").unwrap());
        let lines: Vec<&[u8]> = log.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
        let bad = lines.iter().filter(|line| parser.parse(line).is_none()).count();

        assert_eq!(lines.len(), 20_000);
        assert!((150..=250).contains(&bad), "about one in a hundred: {bad}");
        assert!((1_000_000..1_001_000).contains(&sample(1, Amount::Bytes(1_000_000)).len()));
    }
}
