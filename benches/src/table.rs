//! The tables: medians with what they range over, and ratios, in Markdown.

use std::fmt::{self, Display, Formatter};

use crate::measure::{Contestant, Role, Rounds, Row};

/// A row's figures, ready to print.
pub(crate) struct Table<'a> {
    pub(crate) row: &'a Row,
    /// For each contestant its rounds, the cold one first.
    pub(crate) figures: &'a [Vec<Vec<f64>>],
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.row.title)?;
        self.heading(f)?;
        for (contestant, cells) in self.ranked() {
            self.line(f, contestant, &cells)?;
        }
        Ok(())
    }
}

impl<'a> Table<'a> {
    fn heading(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "| |")?;
        for column in &self.row.columns {
            write!(f, " {} |", column.head)?;
        }
        let ratios = if self.row.ranked_by.is_some() { 2 } else { 0 };
        if ratios > 0 {
            write!(f, " ÷ raincheck | ÷ best peer |")?;
        }
        writeln!(f, "\n| --- |{}", " ---: |".repeat(self.row.columns.len() + ratios))
    }

    fn line(&self, f: &mut Formatter<'_>, contestant: &Contestant, cells: &[Spread]) -> fmt::Result {
        match contestant.role {
            Role::Ours => write!(f, "| **{}** |", contestant.name)?,
            Role::Peer => write!(f, "| {} |", contestant.name)?,
            Role::Baseline => write!(f, "| *{}* |", contestant.name)?,
        }
        for cell in cells {
            write!(f, " {cell} |")?;
        }
        if let Some(ranked_by) = self.row.ranked_by {
            let median = cells[ranked_by].median;
            write!(f, " {} |", Ratio(median, self.best(Role::Ours)))?;
            write!(f, " {} |", Ratio(median, self.best(Role::Peer)))?;
        }
        writeln!(f)
    }

    /// The contestants with their cells, best first if the row is ranked.
    fn ranked(&self) -> Vec<(&'a Contestant, Vec<Spread>)> {
        let mut lines: Vec<_> = self.lines().collect();
        if let Some(ranked_by) = self.row.ranked_by {
            lines.sort_by(|(_, a), (_, b)| a[ranked_by].median.total_cmp(&b[ranked_by].median));
        }
        lines
    }

    /// The lowest ranking figure among those of a role, if there are any.
    fn best(&self, role: Role) -> Option<f64> {
        let ranked_by = self.row.ranked_by?;
        self.lines()
            .filter(|(contestant, _)| contestant.role == role)
            .map(|(_, cells)| cells[ranked_by].median)
            .min_by(f64::total_cmp)
    }

    fn lines(&self) -> impl Iterator<Item = (&'a Contestant, Vec<Spread>)> {
        let columns = &self.row.columns;
        let cells = move |rounds: &Vec<Vec<f64>>| {
            let cell = columns.iter().map(|column| match column.rounds {
                Rounds::Cold => Spread::of(&rounds[..1], column.figure),
                Rounds::Warm => Spread::of(&rounds[1..], column.figure),
            });
            cell.collect()
        };
        self.row.contestants.iter().zip(self.figures.iter().map(cells))
    }
}

/// A median and what it ranges over.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Over one figure of at least one round.
    fn of(rounds: &[Vec<f64>], figure: usize) -> Self {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[figure]).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Self { median, min: values[0], max: values[values.len() - 1] }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [median, min, max] = [self.median, self.min, self.max].map(Number);
        let (from, to) = (min.to_string(), max.to_string());
        match from == to {
            true => write!(f, "{median}"),
            false => write!(f, "{median} ({from}–{to})"),
        }
    }
}

/// A number in three digits or so; what could not be measured is a dash.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(number) = *self;
        if number.is_nan() {
            return f.write_str("–");
        }
        let decimals = match number.abs() {
            100.0.. => 0,
            10.0.. => 1,
            _ if number.fract() == 0.0 => 0,
            _ => 2,
        };
        write!(f, "{number:.decimals$}")
    }
}

/// How many times the second the first is.
struct Ratio(f64, Option<f64>);

impl Display for Ratio {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self(number, Some(unit)) if unit > 0.0 => write!(f, "{:.2}", number / unit),
            _ => f.write_str("–"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Column;

    #[test]
    fn the_best_comes_first_and_a_baseline_is_nobodys_best_peer() {
        let row = Row {
            key: "hop",
            title: "hop".into(),
            columns: vec![
                Column { head: "cold ns", figure: 0, rounds: Rounds::Cold },
                Column { head: "ns", figure: 0, rounds: Rounds::Warm },
            ],
            ranked_by: Some(1),
            at_once: false,
            counted: false,
            contestants: vec![
                Contestant::peer("hare", |_| unreachable!()),
                Contestant::ours("raincheck", |_| unreachable!()),
                Contestant::baseline("stone", |_| unreachable!()),
            ],
        };
        let rounds = |of: &[f64]| of.iter().map(|&figure| vec![figure]).collect::<Vec<_>>();
        let figures = [rounds(&[9.0, 5.0, 4.0, 6.0]), rounds(&[400.0, 2.5, 2.5, 2.5]), rounds(&[1.0, 1.0, 1.0, 1.0])];

        let table = Table { row: &row, figures: &figures };

        assert_eq!(
            table.to_string(),
            "### hop\n\n\
             | | cold ns | ns | ÷ raincheck | ÷ best peer |\n\
             | --- | ---: | ---: | ---: | ---: |\n\
             | *stone* | 1 | 1 | 0.40 | 0.20 |\n\
             | **raincheck** | 400 | 2.50 | 1.00 | 0.50 |\n\
             | hare | 9 | 5 (4–6) | 2.00 | 1.00 |\n"
        );
    }

    #[test]
    fn an_even_number_of_rounds_has_its_median_in_between() {
        let rounds = [vec![1.0], vec![4.0], vec![2.0], vec![8.0]];

        assert_eq!(Spread::of(&rounds, 0).to_string(), "3 (1–8)");
    }
}
