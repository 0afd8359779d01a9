//! The timeline in the trace event format that Perfetto and the browsers' tracing pages open.
//!
//! A style is a process and a lane is a thread of it, so that the viewer groups and names them.

use serde_json::{Value, json};

use super::{Band, Bar, Timeline};

/// Draws the whole trace.
pub(super) fn draw(timeline: &Timeline) -> String {
    let mut events: Vec<Value> = Vec::new();
    for (band, pid) in timeline.bands().zip(1..) {
        name_band(&mut events, band, pid);
        events.extend(band.bars.iter().map(|bar| event(bar, pid)));
    }
    let trace = json!({
        "displayTimeUnit": "ms",
        "otherData": { "title": timeline.title },
        "traceEvents": events,
    });
    format!("{trace}\n")
}

fn name_band(events: &mut Vec<Value>, band: &Band, pid: u32) {
    events.push(json!({ "ph": "M", "name": "process_name", "pid": pid, "args": { "name": *band.name } }));
    events.push(json!({ "ph": "M", "name": "process_sort_index", "pid": pid, "args": { "sort_index": pid } }));
    for lane in band.rows().keys() {
        let name = format!("lane {lane}");
        events.push(json!({ "ph": "M", "name": "thread_name", "pid": pid, "tid": lane, "args": { "name": name } }));
        events.push(
            json!({ "ph": "M", "name": "thread_sort_index", "pid": pid, "tid": lane, "args": { "sort_index": lane } }),
        );
    }
}

fn event(bar: &Bar, pid: u32) -> Value {
    let mut args = json!({ "outcome": bar.ink.word(), "bytes": bar.bytes, "attempt": bar.attempt });
    if let Some(detail) = &bar.detail {
        args["detail"] = json!(**detail);
    }
    json!({
        "ph": "X",
        "name": *bar.label,
        "cat": bar.ink.key(),
        "ts": bar.start.as_micros() as u64,
        "dur": bar.end.saturating_sub(bar.start).as_micros() as u64,
        "pid": pid,
        "tid": bar.lane,
        "args": args,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::jobs::script::*;
    use super::*;

    #[test]
    fn a_style_is_a_process_and_a_lane_a_thread() {
        let mut timeline = Timeline::new("t");
        let events = [style(0, "threads"), submitted(0, "a"), started(1, 0, 4), done(3, 0, 5)];
        replay(&events, &mut timeline);

        let trace: Value = serde_json::from_str(&draw(&timeline)).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        assert_eq!(events[0]["args"]["name"], "threads");
        assert_eq!(events[2]["args"]["name"], "lane 4");
        let job = events.last().unwrap();
        let expected = json!({
            "ph": "X", "name": "a", "cat": "done", "ts": 1000, "dur": 2000, "pid": 1, "tid": 4,
            "args": { "outcome": "done", "bytes": 5, "attempt": 1 },
        });
        assert_eq!(*job, expected);
    }
}
