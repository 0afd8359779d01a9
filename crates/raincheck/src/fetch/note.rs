//! What is written down beside a part of a file, so that another run can go on with it.
//!
//! The URL, what tells whether the server still has the same file, and, if pieces were fetched here and there, how long it is
//! and a line for each stretch that is there. Those lines are added one by one: of one that was cut off, what can be read is
//! part of the truth, and never more.

use std::ops::Range;

/// A note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) url: String,
    /// The `ETag` or the `Last-Modified`.
    pub(crate) validator: String,
    pub(crate) there: There,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum There {
    /// All from the beginning to where the part ends.
    Beginning,
    /// These stretches of a file of so many bytes.
    Pieces { size: u64, stretches: Vec<Range<u64>> },
}

impl Note {
    /// The text of a note.
    pub(crate) fn write(&self) -> String {
        let mut text = format!("{}\n{}\n", self.url, self.validator);
        if let There::Pieces { size, stretches } = &self.there {
            text += &format!("pieces of {size}\n");
            stretches.iter().for_each(|stretch| text += &line(stretch));
        }
        text
    }

    /// Reads it. `None` if it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut lines = text.split_inclusive('\n').map_while(|line| line.strip_suffix('\n'));
        let (url, validator) = (lines.next()?.to_owned(), lines.next()?.to_owned());
        let there = match lines.next() {
            None => There::Beginning,
            Some(line) => {
                let size = line.strip_prefix("pieces of ")?.parse().ok()?;
                There::Pieces { size, stretches: lines.filter_map(stretch).filter(|it| it.end <= size).collect() }
            }
        };
        Some(Self { url, validator, there })
    }
}

/// The line to add for a stretch that is there.
pub(crate) fn line(stretch: &Range<u64>) -> String {
    format!("{}-{}\n", stretch.start, stretch.end)
}

fn stretch(line: &str) -> Option<Range<u64>> {
    let (start, end) = line.split_once('-')?;
    Some(start.parse().ok()?..end.parse().ok()?).filter(|stretch| !stretch.is_empty())
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges can have one")]
mod tests {
    use super::*;
    use crate::fetch::pieces::merged;

    fn in_pieces(stretches: Vec<Range<u64>>) -> Note {
        let there = There::Pieces { size: 5000, stretches };
        Note { url: "http://h/a".into(), validator: "\"e\"".into(), there }
    }

    #[test]
    fn a_note_reads_back_as_it_is_written() {
        for note in [in_pieces(vec![0..10, 40..50]), Note { there: There::Beginning, ..in_pieces(Vec::new()) }] {
            assert_eq!(Note::read(&note.write()), Some(note));
        }
    }

    #[test]
    fn a_line_that_was_cut_off_tells_nothing_that_is_not_so() {
        let there = [1500..2000, 3000..4000, 120..150];
        let whole = in_pieces(vec![0..100]).write();
        let lines: String = there.iter().map(line).collect();
        for cut in 0..lines.len() {
            // Another run adds its own behind it.
            let text = format!("{whole}{}{}", &lines[..cut], line(&(500..1600)));

            let There::Pieces { stretches, .. } = Note::read(&text).unwrap().there else { panic!("{text}") };

            let truth = merged(there.iter().cloned().chain([0..100, 500..1600]).collect());
            let told = merged(stretches);
            assert!(
                told.iter().all(|told| truth.iter().any(|truth| truth.start <= told.start && told.end <= truth.end)),
                "{text}: {told:?}"
            );
        }
    }

    #[test]
    fn what_is_no_note_is_none() {
        for text in
            ["", "http://h/a\n", "http://h/a\n\"e", "http://h/a\n\"e\"\npieces of x\n", "http://h/a\n\"e\"\nmore\n"]
        {
            assert_eq!(Note::read(text), None, "{text:?}");
        }
    }
}
