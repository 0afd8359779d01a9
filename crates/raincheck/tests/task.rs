//! What `#[task]` makes of a function.
#![cfg(feature = "task")]

use std::{path::Path, sync::Mutex};

use raincheck::{Call, Context, Executor, InProcess, Inline, TaskFunction, ThreadPool, Work};

/// The area of a rectangle.
#[raincheck::task]
fn area(width: u32, height: u32) -> u32 {
    width * height
}

#[raincheck::task(name = "words.longest")]
fn longest(words: &[String], unless: &str) -> Option<usize> {
    words.iter().filter(|word| *word != unless).map(String::len).max()
}

#[raincheck::task]
fn is_root(path: &Path) -> bool {
    path.parent().is_none()
}

#[raincheck::task]
async fn double(number: u64) -> u64 {
    number * 2
}

static DOOR: Mutex<()> = Mutex::new(());

#[raincheck::task]
async fn past_the_door(number: u64) -> u64 {
    if number == 1 {
        drop(DOOR.lock().unwrap());
    }
    number
}

#[raincheck::task]
fn sees_its_context(number: u64, context: &Context) -> (u64, bool, bool) {
    (number, context.cancelled(), context.lane().is_some())
}

#[raincheck::task]
fn nothing() {}

mod elsewhere {
    #[raincheck::task]
    pub(crate) fn negated(number: i64) -> i64 {
        -number
    }
}

#[test]
fn the_function_is_still_a_plain_function() {
    assert_eq!(area(6, 7), 42);
    assert_eq!(longest(&["one".into(), "three".into()], "three"), Some(3));
}

#[test]
fn its_call_runs_on_any_executor() {
    fn on(executor: impl Executor) -> u32 {
        executor.submit(area::call(6, 7)).result().unwrap()
    }

    assert_eq!(on(Inline::new()), 42);
    assert_eq!(on(ThreadPool::new(1)), 42);
    #[cfg(feature = "tokio")]
    assert_eq!(on(raincheck::Tokio::new(1)), 42);
}

#[test]
fn its_call_runs_on_an_executor_picked_by_a_flag() {
    fn on(executor: &impl Executor) -> u32 {
        executor.submit(area::call(6, 7)).result().unwrap()
    }

    let picked: Box<dyn Executor> = Box::new(ThreadPool::new(1));

    assert_eq!(picked.submit(area::call(6, 7)).result(), Ok(42));
    assert_eq!(on(&picked), 42);
}

#[test]
fn arguments_that_are_borrowed_are_kept_owned() {
    let pool = ThreadPool::new(1);
    let words = ["one".to_owned(), "three".to_owned()];

    let found = pool.submit(longest::call(words, "three"));
    let root = pool.submit(is_root::call("/"));

    assert_eq!(found.result(), Ok(Some(3)));
    assert_eq!(root.result(), Ok(true));
}

#[test]
fn an_async_function_runs_on_threads_too() {
    let pool = ThreadPool::new(1);

    assert_eq!(pool.submit(double::call(21)).result(), Ok(42));
    assert_eq!(Inline::new().submit(double::call(21)).result(), Ok(42));
    let doubled: Result<Vec<u64>, _> = pool.map(double::task(), 1..=3).collect();
    assert_eq!(doubled, Ok(vec![2, 4, 6]));
}

#[test]
fn a_task_is_mapped_over_its_argument_or_over_tuples() {
    let pool = ThreadPool::new(2);

    let negated: Result<Vec<i64>, _> = pool.map(elsewhere::negated::task(), 1..=1000).collect();
    let areas: Result<Vec<u32>, _> = pool.map(area::task(), [(1, 2), (3, 4)]).collect();
    let all_areas = pool.map(area::task(), (1..=1000).map(|n| (n, 2))).values();
    let all_doubled = pool.map(double::task(), 1..=3).values();

    assert_eq!(negated.unwrap(), (1..=1000).map(|number| -number).collect::<Vec<i64>>());
    assert_eq!(areas, Ok(vec![2, 12]));
    assert_eq!(all_areas, Ok((1..=1000).map(|n| 2 * n).collect()));
    assert_eq!(all_doubled, Ok(vec![2, 4, 6]));
}

#[test]
fn the_values_of_an_async_task_come_while_others_have_not_started() {
    let mut shut = Some(DOOR.lock().unwrap());
    // The last input is pulled when the first value is there: then the second call waits, and the third for its worker.
    let inputs = (0..4).inspect(move |n| {
        if *n == 3 {
            drop(shut.take());
        }
    });

    assert_eq!(ThreadPool::new(1).map(past_the_door::task(), inputs).buffer(3).values(), Ok(vec![0, 1, 2, 3]));
}

#[test]
fn a_task_can_be_submitted_without_any_set_up() {
    assert_eq!(area::submit(6, 7).result(), Ok(42));
    assert_eq!(nothing::submit().result(), Ok(()));
}

#[test]
fn a_call_knows_its_name_and_its_arguments() {
    let call = area::call(6, 7);

    assert_eq!(call.name(), concat!(module_path!(), "::area"));
    assert_eq!(longest::call(Vec::<String>::new(), "").name(), "words.longest");
    assert_eq!(call.args(), &(6, 7));
    assert_eq!(format!("{:?}", call.clone()), format!("{}(6, 7)", call.name()));
    assert_eq!(<area as TaskFunction>::PARAMETERS, ["width", "height"]);
    assert_eq!(<area as TaskFunction>::SIGNATURE, "fn(width: u32, height: u32) -> u32");
    assert_eq!((<area as TaskFunction>::ASYNC, <double as TaskFunction>::ASYNC), (false, true));
}

#[test]
fn a_call_can_be_written_down_and_read_back() {
    let written = serde_json::to_string(&longest::call(["one".to_owned()], "two")).unwrap();
    assert_eq!(written, r#"{"task":"words.longest","args":[["one"],"two"]}"#);

    let read: Call<longest> = serde_json::from_str(&written).unwrap();

    assert_eq!(ThreadPool::new(1).submit(read).result(), Ok(Some(3)));
}

#[test]
fn a_call_of_another_task_is_refused_by_name() {
    let error = serde_json::from_str::<Call<area>>(r#"{"task":"words.longest","args":[1,2]}"#).unwrap_err().to_string();

    assert!(error.contains("`words.longest`") && error.contains("::area`"), "{error}");
    for torn in [r#"{"args":[1,2]}"#, r#"{"task":"words.longest"}"#, r#"{"task":1}"#, "[]"] {
        assert!(serde_json::from_str::<Call<longest>>(torn).is_err(), "{torn}");
    }
}

#[test]
fn the_context_is_given_by_the_worker() {
    assert_eq!(ThreadPool::new(1).submit(sees_its_context::call(3)).result(), Ok((3, false, true)));
    assert_eq!(Inline::new().submit(sees_its_context::call(3)).result(), Ok((3, false, false)));
}

#[test]
fn executors_in_this_process_never_write_an_argument_down() {
    struct Unwritable;

    impl serde::Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("nobody should write this down")
        }
    }

    impl<'de> serde::Deserialize<'de> for Unwritable {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("nobody should read this back")
        }
    }

    #[raincheck::task]
    fn takes(_value: Unwritable) -> bool {
        true
    }

    fn on<E: InProcess>(executor: E)
    where
        Call<takes>: Work<E, raincheck::kind::Call, Output = bool>,
    {
        assert_eq!(executor.submit(takes::call(Unwritable)).result(), Ok(true));
    }

    on(Inline::new());
    on(ThreadPool::new(1));
    #[cfg(feature = "tokio")]
    on(raincheck::Tokio::new(1));
}

#[test]
fn names_are_no_matter() {
    #[raincheck::task]
    fn word(word: &str) -> usize {
        word.len()
    }

    #[raincheck::task]
    fn r#match(r#type: u8, mut count: u8) -> u8 {
        count += r#type;
        count
    }

    let inline = Inline::new();
    assert_eq!(inline.submit(word::call("rain")).result(), Ok(4));
    assert_eq!(inline.submit(r#match::call(1, 2)).result(), Ok(3));
    assert_eq!(<r#match as raincheck::TaskFunction>::PARAMETERS, ["type", "count"]);
    assert!(<r#match as raincheck::TaskFunction>::NAME.ends_with("::match"));
}

#[test]
#[deny(deprecated)]
fn a_deprecated_task_warns_whoever_calls_it_and_nobody_else() {
    #[deprecated]
    #[raincheck::task]
    fn old() -> u8 {
        1
    }

    assert_eq!(Inline::new().submit(old::call()).result(), Ok(1));
}
