//! `raincheck logs --sample`: logs to try things on, to stdout or as a folder of files.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::amount::amount;
use super::output::write_whole;
use super::sample::{self, Amount, SampleFormat, Shape};
use crate::args::{JobOptions, ReportOptions, Talk, number};
use crate::batch::{Batch, Calls, Done, Failure, Tried};
use crate::error::{Error, Exit, cannot_write_output};
use crate::executors;
use crate::interrupt::{self, Interrupt};
use crate::report::Report;

/// Progress is told whenever so much more has been written.
const BETWEEN_PROGRESS: u64 = 1 << 20;

/// What sample is wanted.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Making a sample")]
pub(super) struct SampleOptions {
    /// Make up a log, of so many lines or of a size, as in 10000 or 1.1GB; the same for the same seed
    #[arg(long, value_name = "AMOUNT", value_parser = lines_or_bytes, conflicts_with = "logs")]
    sample: Option<Amount>,
    /// Write it to this folder as gzip files, a day each, and not to stdout
    #[arg(long, value_name = "DIR", requires = "sample")]
    into: Option<PathBuf>,
    /// Cut it into so many files
    #[arg(long, value_name = "N", requires = "into", default_value = "1", value_parser = number::<NonZeroU64>)]
    files: NonZeroU64,
    /// What chance begins with
    #[arg(long, value_name = "N", requires = "sample", default_value_t = 1, value_parser = number::<u64>)]
    seed: u64,
    /// How many hosts ask, a few of them most of the time
    #[arg(long, value_name = "N", requires = "sample", default_value = "20000", value_parser = number::<NonZeroUsize>)]
    sample_hosts: NonZeroUsize,
    /// How many pages there are
    #[arg(long, value_name = "N", requires = "sample", default_value = "3000", value_parser = number::<NonZeroUsize>)]
    sample_paths: NonZeroUsize,
    /// Which share of the lines is none, as in 0.001
    #[arg(long, value_name = "SHARE", requires = "sample", default_value = "0.0001", value_parser = per_million)]
    bad_share: u64,
}

fn lines_or_bytes(text: &str) -> Result<Amount, String> {
    let is_size = text.to_ascii_lowercase().ends_with('b');
    amount(text).map(if is_size { Amount::Bytes } else { Amount::Lines })
}

fn per_million(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(share @ 0.0..=1.0) => Ok((share * 1e6).round() as u64),
        _ => Err("it must be between 0 and 1".into()),
    }
}

/// A sample that is to be made.
pub(super) struct Sample {
    amount: Amount,
    files: NonZeroU64,
    into: Option<PathBuf>,
    shape: Shape,
}

impl SampleOptions {
    /// What is asked for, if it is.
    pub(super) fn asked(&self) -> Option<Sample> {
        Some(Sample {
            amount: self.sample?,
            files: self.files,
            into: self.into.clone(),
            shape: Shape {
                seed: self.seed,
                hosts: self.sample_hosts.get(),
                paths: self.sample_paths.get(),
                bad_per_million: self.bad_share,
                format: SampleFormat::Combined,
            },
        })
    }
}

/// What one job is given: a file to write.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Work {
    path: PathBuf,
    shape: Shape,
    amount: Amount,
    day: u64,
}

/// Makes the sample.
pub(super) fn run(
    mut sample: Sample,
    format: Option<&str>,
    jobs: &JobOptions,
    workers: NonZeroUsize,
    report: ReportOptions,
    talk: Talk,
    interrupt: &Interrupt,
) -> Result<Exit, Error> {
    sample.shape.format = match format {
        None | Some("combined" | "nginx") => SampleFormat::Combined,
        Some("common") => SampleFormat::Common,
        Some("vhost") => SampleFormat::Vhost,
        Some(_) => {
            return Err(Error::usage("samples are not made in any format").hint("there is combined, common and vhost"));
        }
    };
    let Some(folder) = &sample.into else { return to_stdout(&sample) };
    fs::create_dir_all(folder)
        .map_err(|error| Error::usage(format!("cannot create the folder `{}`", folder.display())).because(error))?;
    let amount = sample.amount.of_each(sample.files.get());
    let work = |day| Work {
        path: folder.join(format!("access-{:03}.log.gz", day + 1)),
        shape: sample.shape.clone(),
        amount,
        day,
    };
    let report = Report::open(report.plan("sample", talk), interrupt)?;
    Batch::new(&report, interrupt, jobs).run(
        executors::make(jobs.executor(), workers)?,
        (0..sample.files.get()).map(work),
        |work| work.path.display().to_string(),
        &Calls(write_file::call),
        |_, _| Ok(()),
    )?;
    report.finish()
}

fn to_stdout(sample: &Sample) -> Result<Exit, Error> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    sample::write(&mut out, &sample.shape, sample.amount, 0).and_then(|_| out.flush()).map_err(cannot_write_output)?;
    Ok(Exit::AllDone)
}

/// Writes one file, and says on the way how much of the log has been written.
#[raincheck::task]
fn write_file(work: Work) -> Tried<()> {
    let mut bytes = 0;
    let written = write_whole(&work.path, |file| {
        let mut out = Told { out: GzEncoder::new(BufWriter::new(file), Compression::default()), written: 0, told: 0 };
        bytes = sample::write(&mut out, &work.shape, work.amount, work.day)?;
        out.out.finish()?.flush()
    });
    match written {
        Ok(()) => Ok(Done { bytes, value: () }),
        Err(_) if interrupt::job_is_unwanted() => Err(Failure::stopped()),
        Err(error) => Err(Failure::for_now(error.to_string())),
    }
}

/// Tells how much is written through it, and stops when nobody wants it any more.
struct Told<W> {
    out: W,
    written: u64,
    told: u64,
}

impl<W: Write> Write for Told<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.out.write(bytes)?;
        self.written += length as u64;
        if self.written - self.told >= BETWEEN_PROGRESS {
            self.told = self.written;
            raincheck::progress(self.told);
            if interrupt::job_is_unwanted() {
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
