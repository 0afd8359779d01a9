//! The stream itself, one JSON object per line, for a program that draws its own progress.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::event::{Event, Moment};
use super::jobs::{Jobs, Reader};

/// How often at most the bytes of one job are told.
const BETWEEN_BYTES: Duration = Duration::from_millis(200);

/// Writes every event as it comes.
pub(crate) struct Stream<W> {
    out: W,
    bytes_told: HashMap<u64, Duration>,
}

impl<W: Write> Stream<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, bytes_told: HashMap::new() }
    }

    fn too_soon(&mut self, job: u64, at: Duration) -> bool {
        let soon = self.bytes_told.get(&job).is_some_and(|told| at.saturating_sub(*told) < BETWEEN_BYTES);
        if !soon {
            self.bytes_told.insert(job, at);
        }
        soon
    }
}

impl<W: Write + Send> Reader for Stream<W> {
    fn read(&mut self, event: &Event, jobs: &Jobs) {
        match event {
            Event::Job { job, at, moment: Moment::Progress { .. } } if self.too_soon(*job, *at) => return,
            Event::Job { job, moment: Moment::Finished(_), .. } => {
                self.bytes_told.remove(job);
            }
            _ => {}
        }
        let mut line = Value::Object(object(event, jobs)).to_string();
        line.push('\n');
        // Whoever read this has gone; the work is not the poorer for it.
        let _ = self.out.write_all(line.as_bytes());
    }
}

fn object(event: &Event, jobs: &Jobs) -> Map<String, Value> {
    let value = match event {
        Event::Style { at, name } => json!({ "event": "style", "at": at.as_secs_f64(), "name": **name }),
        Event::Expected(expected) => json!({ "event": "expected", "jobs": expected.jobs, "bytes": expected.bytes }),
        Event::Job { job, at, moment } => {
            let mut object = Map::new();
            object.insert("event".into(), name(moment).into());
            object.insert("at".into(), at.as_secs_f64().into());
            object.insert("job".into(), (*job).into());
            match moment {
                Moment::Submitted { label } => {
                    object.insert("label".into(), (**label).into());
                    if let Some(raw) = label.raw() {
                        object.insert("raw".into(), raw.into());
                    }
                }
                Moment::Started(lane) => {
                    object.insert("lane".into(), (*lane).into());
                }
                Moment::Progress { bytes } => {
                    object.insert("bytes".into(), (*bytes).into());
                }
                Moment::Retrying { attempt, wait, reason } => {
                    object.insert("attempt".into(), (*attempt).into());
                    object.insert("wait".into(), wait.as_secs_f64().into());
                    object.insert("reason".into(), reason.as_str().into());
                }
                Moment::Finished(outcome) => {
                    let record = jobs.get(*job);
                    object.insert("status".into(), outcome.status.key().into());
                    object.insert("bytes".into(), record.map_or(outcome.bytes, |record| record.bytes).into());
                    object.insert("attempts".into(), record.map_or(0, |record| record.attempts).into());
                    object.insert("detail".into(), outcome.detail.clone().into());
                }
            }
            return object;
        }
    };
    match value {
        Value::Object(object) => object,
        _ => unreachable!("each arm above is written as an object"),
    }
}

fn name(moment: &Moment) -> &'static str {
    match moment {
        Moment::Submitted { .. } => "submitted",
        Moment::Started(_) => "started",
        Moment::Progress { .. } => "progress",
        Moment::Retrying { .. } => "retrying",
        Moment::Finished(_) => "finished",
    }
}

#[cfg(test)]
mod tests {
    use super::super::jobs::script::*;
    use super::*;

    #[test]
    fn every_event_is_one_object() {
        let mut stream = Stream::new(Vec::new());
        replay(
            &[
                style(0, "threads"),
                expected(1),
                submitted(0, "a"),
                started(100, 0, 2),
                moved(200, 0, 10),
                moved(250, 0, 20),
                retrying(300, 0, "reset"),
                started(800, 0, 2),
                done(900, 0, 30),
            ],
            &mut stream,
        );

        assert_eq!(
            String::from_utf8(stream.out).unwrap(),
            r#"{"at":0.0,"event":"style","name":"threads"}
{"bytes":null,"event":"expected","jobs":1}
{"at":0.0,"event":"submitted","job":0,"label":"a"}
{"at":0.1,"event":"started","job":0,"lane":2}
{"at":0.2,"bytes":10,"event":"progress","job":0}
{"at":0.3,"attempt":1,"event":"retrying","job":0,"reason":"reset","wait":0.5}
{"at":0.8,"event":"started","job":0,"lane":2}
{"at":0.9,"attempts":2,"bytes":30,"detail":null,"event":"finished","job":0,"status":"done"}
"#
        );
    }
}
