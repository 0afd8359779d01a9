//! Map and reduce: the hottest day of each year, from many readings in any order.
//!
//! Each share of the readings is mapped to a small table, on any thread; tables are merged as they become ready, which
//! is right because merging does not care for the order.
//!
//! ```sh
//! cargo run --release --example map_reduce
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;

use raincheck::{Executor, TaskError, ThreadPool, as_completed};

/// The highest temperature of each year, in tenths of a degree.
type Table = BTreeMap<u32, i32>;

fn main() -> Result<(), TaskError> {
    let pool = ThreadPool::new(4);

    let tables = (0..100).map(|share| pool.submit(move || hottest(readings(share))));
    let mut total = Table::new();
    for table in as_completed(tables) {
        merge(&mut total, table.result()?);
    }

    for (year, tenths) in total {
        println!("{year}: {:.1} °C", f64::from(tenths) / 10.0);
    }
    Ok(())
}

/// Map.
fn hottest(readings: impl Iterator<Item = (u32, i32)>) -> Table {
    let mut table = Table::new();
    readings.for_each(|reading| merge(&mut table, [reading].into()));
    table
}

/// Reduce.
fn merge(into: &mut Table, table: Table) {
    for (year, tenths) in table {
        let highest = into.entry(year).or_insert(tenths);
        *highest = tenths.max(*highest);
    }
}

/// A share of the readings: years and temperatures that look like chance, and are the same each time.
fn readings(share: u32) -> impl Iterator<Item = (u32, i32)> {
    (0..10_000).map(move |index| {
        let chance = (share * 10_000 + index).wrapping_mul(2_654_435_761) >> 8;
        let (year, summer) = (chance % 5, [12, 31, 7, 24, 18][chance as usize % 5]);
        (1990 + year, (chance / 5 % 500) as i32 - 150 + summer)
    })
}
