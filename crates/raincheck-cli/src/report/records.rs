//! The record file: one line per job, on disk before the next one begins.
//!
//! Each line is written whole and at once as its job ends, so that whatever kills the program costs at most a torn
//! last line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::event::{Event, Moment, Outcome};
use super::jobs::{Jobs, Reader, Record};

/// A file for records; its ending says in which form.
#[derive(Clone, Debug)]
pub(crate) struct RecordsFile {
    path: PathBuf,
    form: Form,
}

/// The forms a record file can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    JsonLines,
    Csv,
}

impl FromStr for RecordsFile {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let path = PathBuf::from(path);
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let form = match ending.as_str() {
            "jsonl" | "ndjson" => Form::JsonLines,
            "csv" => Form::Csv,
            _ => return Err("its name must end in .jsonl or .csv".into()),
        };
        Ok(Self { path, form })
    }
}

impl RecordsFile {
    /// Creates the file, or empties the one that is there.
    ///
    /// The columns are those that every job has, and then these.
    pub(crate) fn create(&self, columns: &'static [&'static str]) -> io::Result<Records<File>> {
        let mut options = OpenOptions::new();
        // Lines go to the end even if another program shortens the file meanwhile.
        let file = options.append(true).create(true).open(&self.path)?;
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Records::new(file, self.form, columns)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a line for every job that ends.
pub(crate) struct Records<W> {
    file: W,
    form: Form,
    /// Those of the command.
    columns: &'static [&'static str],
    trouble: Option<io::Error>,
}

/// One line: the names and the order of the columns.
#[derive(Serialize)]
struct Line<'a> {
    style: &'a str,
    label: &'a str,
    status: &'a str,
    lane: Option<usize>,
    /// Both since the start of the command. What never started has no start.
    start: Option<f64>,
    end: f64,
    seconds: Option<f64>,
    bytes: u64,
    attempts: u32,
    detail: Option<&'a str>,
}

/// A line, what the label really is if it is no text, and what the command tells beside.
#[derive(Serialize)]
struct WithMore<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    #[serde(flatten)]
    more: Pairs<'a>,
}

/// Fields of an object, in this order.
struct Pairs<'a>(Vec<(&'a &'static str, &'a Value)>);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().copied())
    }
}

/// A value as CSV has it: nothing for what is not there, and text without quotes.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl<W: Write> Records<W> {
    pub(crate) fn new(mut file: W, form: Form, columns: &'static [&'static str]) -> io::Result<Self> {
        if form == Form::Csv {
            let mut head = String::from("style,label,status,lane,start,end,seconds,bytes,attempts,detail,raw");
            columns.iter().for_each(|column| head.extend([",", column]));
            head.push('\n');
            file.write_all(head.as_bytes())?;
        }
        Ok(Self { file, form, columns, trouble: None })
    }

    /// Why the file is not whole, if it is not: the disk was full, say.
    pub(crate) fn trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    fn write(&mut self, record: &Record, at: Duration, outcome: &Outcome) -> io::Result<()> {
        let line = Line {
            style: &record.style,
            label: &record.label,
            status: outcome.status.key(),
            lane: record.lane,
            start: record.started.map(micros),
            end: micros(at),
            seconds: record.started.map(|started| micros(at.saturating_sub(started))),
            bytes: record.bytes,
            attempts: record.attempts,
            detail: outcome.detail.as_deref(),
        };
        let raw = record.label.raw();
        let values = outcome.more.iter().flat_map(|more| more.iter());
        let text = match self.form {
            Form::JsonLines => {
                let more: Vec<_> = self.columns.iter().zip(values).collect();
                let mut text = serde_json::to_vec(&WithMore { line, raw, more: Pairs(more) })?;
                text.push(b'\n');
                text
            }
            Form::Csv => {
                let mut csv = csv::WriterBuilder::new().has_headers(false).flexible(true).from_writer(Vec::new());
                let values = values.map(cell).chain(iter::repeat_with(String::new));
                let values: Vec<_> = values.take(self.columns.len()).collect();
                csv.serialize((line, raw, values)).map_err(io::Error::other)?;
                csv.into_inner().map_err(|error| error.into_error())?
            }
        };
        self.file.write_all(&text)
    }
}

impl<W: Write + Send> Reader for Records<W> {
    fn read(&mut self, event: &Event, jobs: &Jobs) {
        let Event::Job { job, at, moment: Moment::Finished(outcome) } = event else { return };
        let Some(record) = jobs.get(*job) else { return };
        if self.trouble.is_none() {
            self.trouble = self.write(record, *at, outcome).err();
        }
    }
}

/// Seconds to the microsecond; more digits would be noise.
fn micros(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::super::event::Status;
    use super::super::jobs::script::*;
    use super::*;

    fn written(form: Form) -> String {
        let mut records = Records::new(Vec::new(), form, &[]).unwrap();
        replay(
            &[
                style(0, "threads"),
                submitted(0, "a,\"b\"\nc"),
                submitted(1, "never"),
                started(250, 0, 3),
                moved(300, 0, 40),
                retrying(400, 0, "reset"),
                started(900, 0, 1),
                done(1000, 0, 64),
                ended(1100, 1, Status::Cancelled, "interrupted"),
            ],
            &mut records,
        );
        String::from_utf8(records.file).unwrap()
    }

    #[test]
    fn json_lines_have_one_object_per_job() {
        assert_eq!(
            written(Form::JsonLines),
            concat!(
                r#"{"style":"threads","label":"a,\"b\"\nc","status":"done","lane":1,"start":0.25,"end":1.0,"#,
                r#""seconds":0.75,"bytes":64,"attempts":2,"detail":null}"#,
                "\n",
                r#"{"style":"threads","label":"never","status":"cancelled","lane":null,"start":null,"end":1.1,"#,
                r#""seconds":null,"bytes":0,"attempts":0,"detail":"interrupted"}"#,
                "\n",
            )
        );
    }

    #[test]
    fn csv_quotes_what_would_break_it() {
        assert_eq!(
            written(Form::Csv),
            "style,label,status,lane,start,end,seconds,bytes,attempts,detail,raw\n\
             threads,\"a,\"\"b\"\"\nc\",done,1,0.25,1.0,0.75,64,2,,\n\
             threads,never,cancelled,,,1.1,,0,0,interrupted,\n"
        );
    }

    #[test]
    fn a_command_s_own_columns_come_last() {
        let written = |form| {
            let mut records = Records::new(Vec::new(), form, &["name", "code"]).unwrap();
            let more = Some([Value::from("a.png"), Value::from(200)].into());
            let moment = Moment::Finished(Outcome { more, ..Outcome::done(1) });
            let events =
                [submitted(0, "a"), submitted(1, "b"), Event::Job { job: 0, at: ms(1), moment }, done(1, 1, 0)];
            replay(&events, &mut records);
            String::from_utf8(records.file).unwrap()
        };

        let csv = written(Form::Csv);
        assert!(csv.starts_with("style,label") && csv.contains("detail,raw,name,code\n"), "{csv}");
        assert!(csv.contains(",a.png,200\n") && csv.ends_with(",,,\n"), "{csv}");
        assert!(written(Form::JsonLines).contains(r#""detail":null,"name":"a.png","code":200}"#));
    }

    #[test]
    fn a_line_goes_out_in_one_piece() {
        struct Counts(Vec<usize>);
        impl Write for Counts {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.iter().filter(|byte| **byte == b'\n').count());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut records = Records::new(Counts(Vec::new()), Form::JsonLines, &[]).unwrap();
        replay(&[submitted(0, "a"), submitted(1, "b"), done(1, 0, 0), done(2, 1, 0)], &mut records);

        assert_eq!(records.file.0, [1, 1]);
    }

    #[test]
    fn after_a_torn_line_nothing_more_is_written_and_the_work_goes_on() {
        /// Full after these many bytes, and then again with room.
        struct Full(usize, Vec<u8>);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let room = std::mem::replace(&mut self.0, usize::MAX);
                if room == 0 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let written = bytes.len().min(room);
                if written < bytes.len() {
                    self.0 = 0;
                }
                self.1.extend_from_slice(&bytes[..written]);
                Ok(written)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut records = Records::new(Full(10, Vec::new()), Form::JsonLines, &[]).unwrap();
        replay(&[submitted(0, "a"), submitted(1, "b"), done(1, 0, 0), done(2, 1, 0)], &mut records);

        assert_eq!(String::from_utf8_lossy(&records.file.1), r#"{"style":""#);
        assert_eq!(records.trouble().unwrap().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn the_ending_says_the_form() {
        let form = |name: &str| RecordsFile::from_str(name).map(|file| file.form);

        assert_eq!(form("a.jsonl"), Ok(Form::JsonLines));
        assert_eq!(form("a/b.CSV"), Ok(Form::Csv));
        assert!(form("a.json").unwrap_err().contains(".jsonl or .csv"));
    }
}
