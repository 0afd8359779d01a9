//! The timeline: which job ran when and where, as a picture or a trace.
//!
//! One band per style, one row per lane, one bar per attempt at a job. Every band starts at zero, so that styles can be
//! compared at a glance.

mod html;
mod svg;
mod trace;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Event, Moment, Status};
use super::jobs::{Jobs, Reader, Record};
use super::label::Label;

/// A file for the timeline; its ending says in which form.
#[derive(Clone, Debug)]
pub(crate) struct TimelineFile {
    path: PathBuf,
    form: Form,
}

/// The forms a timeline can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Svg,
    Html,
    Trace,
}

impl FromStr for TimelineFile {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let path = PathBuf::from(path);
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let form = match ending.as_str() {
            "svg" => Form::Svg,
            "html" | "htm" => Form::Html,
            "json" => Form::Trace,
            _ => return Err("its name must end in .svg, .html or .json (a trace for Perfetto)".into()),
        };
        Ok(Self { path, form })
    }
}

impl TimelineFile {
    /// Finds out now, not after an hour of work, whether the file can be written.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let probe = self.unfinished();
        fs::File::create(&probe)?;
        fs::remove_file(probe)
    }

    /// Writes the timeline, so that the file is either the old one or the whole new one.
    pub(crate) fn write(&self, timeline: &Timeline) -> io::Result<()> {
        let unfinished = self.unfinished();
        let text = match self.form {
            Form::Svg => svg::draw(timeline),
            Form::Html => html::draw(timeline),
            Form::Trace => trace::draw(timeline),
        };
        fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, &self.path)).inspect_err(|_| {
            // It is told what failed; that the leftover stays is not worth a second error.
            let _ = fs::remove_file(&unfinished);
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name beside the file under which it is written.
    fn unfinished(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        self.path.with_file_name(name)
    }
}

/// Everything that ran, in the order it ended.
pub(crate) struct Timeline {
    title: String,
    bands: Vec<Band>,
    /// The attempts that run now, by job: since when, and in which band.
    running: HashMap<u64, (Duration, usize)>,
}

/// What ran in one style.
struct Band {
    name: Arc<str>,
    began: Duration,
    bars: Vec<Bar>,
    jobs: u64,
}

/// One attempt at one job.
#[derive(Clone, Debug)]
struct Bar {
    lane: usize,
    start: Duration,
    end: Duration,
    ink: Ink,
    label: Label,
    bytes: u64,
    attempt: u32,
    detail: Option<Arc<str>>,
}

/// What a bar's colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ink {
    Ended(Status),
    /// This attempt failed, and the job was tried again.
    Retried,
}

impl Timeline {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), bands: Vec::new(), running: HashMap::new() }
    }

    /// The bands in which anything ran.
    fn bands(&self) -> impl Iterator<Item = &Band> {
        self.bands.iter().filter(|band| !band.bars.is_empty())
    }

    fn band_named(&mut self, name: &Arc<str>, at: Duration) -> usize {
        match self.bands.iter().rposition(|band| band.name == *name) {
            Some(index) => index,
            None => {
                self.bands.push(Band { name: Arc::clone(name), began: at, bars: Vec::new(), jobs: 0 });
                self.bands.len() - 1
            }
        }
    }

    /// Ends the attempt that runs, if one does: what was cancelled in the queue never got a bar.
    fn close(&mut self, job: u64, at: Duration, ink: Ink, record: &Record, detail: Option<&str>) {
        let Some((start, band)) = self.running.remove(&job) else { return };
        self.bands[band].bars.push(Bar {
            lane: record.lane.unwrap_or_default(),
            start,
            end: at,
            ink,
            label: record.label.clone(),
            bytes: record.bytes,
            attempt: record.attempts,
            detail: detail.map(Arc::from),
        });
    }
}

impl Reader for Timeline {
    fn read(&mut self, event: &Event, jobs: &Jobs) {
        let (job, at, moment) = match event {
            Event::Style { at, name } => {
                self.band_named(name, *at);
                return;
            }
            Event::Expected(_) => return,
            Event::Job { job, at, moment } => (*job, *at, moment),
        };
        let Some(record) = jobs.get(job) else { return };
        match moment {
            Moment::Submitted { .. } | Moment::Progress { .. } => {}
            Moment::Started(_) => {
                let band = self.band_named(&record.style, at);
                self.bands[band].jobs += u64::from(record.attempts == 1);
                self.running.insert(job, (at, band));
            }
            Moment::Retrying { reason, .. } => self.close(job, at, Ink::Retried, record, Some(reason)),
            Moment::Finished(outcome) => {
                self.close(job, at, Ink::Ended(outcome.status), record, outcome.detail.as_deref());
            }
        }
    }
}

impl Band {
    /// How long the style took, from its beginning to the end of its last job.
    fn took(&self) -> Duration {
        self.bars.iter().map(|bar| bar.end).max().unwrap_or(self.began).saturating_sub(self.began)
    }

    /// The bars by lane, each lane in order of time. Lanes that ran nothing have no row.
    fn rows(&self) -> BTreeMap<usize, Vec<&Bar>> {
        let mut rows: BTreeMap<usize, Vec<&Bar>> = BTreeMap::new();
        for bar in &self.bars {
            rows.entry(bar.lane).or_default().push(bar);
        }
        for row in rows.values_mut() {
            row.sort_by_key(|bar| bar.start);
        }
        rows
    }
}

impl Ink {
    /// Every ink, in the order of the legend.
    fn all() -> impl Iterator<Item = Self> {
        Status::ALL.map(Self::Ended).into_iter().chain([Self::Retried])
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ended(status) => status.word(),
            Self::Retried => "failed, tried again",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Ended(status) => status.key(),
            Self::Retried => "retried",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::jobs::script::*;
    use super::*;

    #[test]
    fn the_ending_says_the_form() {
        let form = |name: &str| TimelineFile::from_str(name).map(|file| file.form);

        assert_eq!(form("a.svg"), Ok(Form::Svg));
        assert_eq!(form("b/c.HTML"), Ok(Form::Html));
        assert_eq!(form("trace.json"), Ok(Form::Trace));
        assert!(form("picture.png").unwrap_err().contains(".svg, .html or .json"));
    }

    #[test]
    fn a_retried_job_has_a_bar_for_each_attempt() {
        let mut timeline = Timeline::new("t");
        replay(
            &[
                style(0, "threads"),
                submitted(0, "a"),
                started(100, 0, 0),
                retrying(200, 0, "connection reset"),
                started(700, 0, 3),
                done(900, 0, 5),
            ],
            &mut timeline,
        );

        let bars: Vec<_> =
            timeline.bands[0].bars.iter().map(|bar| (bar.lane, bar.start, bar.end, bar.ink, bar.attempt)).collect();
        assert_eq!(bars, [(0, ms(100), ms(200), Ink::Retried, 1), (3, ms(700), ms(900), Ink::Ended(Status::Done), 2)]);
        assert_eq!(timeline.bands[0].jobs, 1);
    }

    #[test]
    fn a_job_that_never_started_has_no_bar() {
        let mut timeline = Timeline::new("t");
        replay(&[style(0, "threads"), submitted(0, "a"), ended(5, 0, Status::Cancelled, "interrupted")], &mut timeline);

        assert_eq!(timeline.bands().count(), 0);
    }

    #[test]
    fn a_style_counts_its_time_from_its_own_beginning() {
        let mut timeline = Timeline::new("t");
        replay(
            &[
                style(0, "one by one"),
                submitted(0, "a"),
                started(0, 0, 0),
                done(900, 0, 0),
                style(1000, "threads"),
                submitted(1, "a"),
                started(1000, 1, 0),
                done(1300, 1, 0),
            ],
            &mut timeline,
        );

        assert_eq!(timeline.bands().map(Band::took).collect::<Vec<_>>(), [ms(900), ms(300)]);
    }
}
