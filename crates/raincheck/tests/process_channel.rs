//! A queue between tasks in several processes, any of which may die.
#![cfg(all(feature = "process", unix, not(target_vendor = "apple")))]

use std::time::Duration;

use raincheck::{ChannelError, Executor, Outcome, ProcessPool, Receiver, Sender, TaskFuture, ThreadPool, channel};

/// Longer than anything takes here.
const TOO_LONG: Duration = Duration::from_secs(30);
/// Not long.
const MOMENT: Duration = Duration::from_millis(10);

#[track_caller]
fn claim<T: Send + 'static>(future: TaskFuture<T>) -> Outcome<T> {
    future.result_timeout(TOO_LONG).unwrap_or_else(|future| panic!("it hangs: {future:?}"))
}

#[raincheck::task]
fn produce(to: Sender<u64>, from: u64, most: u64) {
    (from..most).for_each(|n| to.send(&n).unwrap());
}

#[raincheck::task]
fn consume(from: Receiver<u64>) -> Vec<u64> {
    from.iter().map(Result::unwrap).collect()
}

#[test]
fn what_one_process_sends_another_receives_in_order() {
    let pool = ProcessPool::new(2);
    let (sender, receiver) = channel().unwrap();

    let consumer = pool.submit(consume::call(receiver));
    let producer = pool.submit(produce::call(sender, 0, 10_000));

    assert_eq!(claim(producer), Ok(()));
    assert_eq!(claim(consumer), Ok((0..10_000).collect()));
}

#[test]
fn of_many_senders_and_receivers_each_value_is_received_once() {
    let (pool, threads) = (ProcessPool::new(4), ThreadPool::new(2));
    let (sender, receiver) = channel().unwrap();
    let consumers = [
        pool.submit(consume::call(receiver.clone())),
        pool.submit(consume::call(receiver.clone())),
        threads.submit(consume::call(receiver)),
    ];
    let producers = [
        pool.submit(produce::call(sender.clone(), 0, 3000)),
        pool.submit(produce::call(sender.clone(), 3000, 6000)),
        threads.submit(produce::call(sender, 6000, 9000)),
    ];

    producers.into_iter().for_each(|producer| claim(producer).unwrap());
    let mut all: Vec<u64> = consumers.into_iter().flat_map(|consumer| claim(consumer).unwrap()).collect();

    all.sort_unstable();
    assert_eq!(all, (0..9000).collect::<Vec<_>>());
}

#[test]
fn a_sender_that_dies_is_an_end_behind_what_it_has_sent() {
    #[raincheck::task]
    fn sends_and_dies(to: Sender<String>) {
        to.send(&"rain".to_owned()).unwrap();
        std::process::abort();
    }
    let pool = ProcessPool::new(1);
    let (sender, receiver) = channel().unwrap();

    let task = pool.submit(sends_and_dies::call(sender));

    assert_eq!(receiver.recv_timeout(TOO_LONG), Ok("rain".to_owned()));
    assert_eq!(receiver.recv_timeout(TOO_LONG), Err(ChannelError::Closed));
    assert!(claim(task).is_err());
}

#[test]
fn a_receiver_that_dies_is_an_error_to_who_sends() {
    #[raincheck::task]
    fn receives_and_dies(from: Receiver<u64>) {
        from.recv().unwrap();
        std::process::abort();
    }
    #[raincheck::task]
    fn sends_on(to: Sender<u64>) -> Result<(), ChannelError> {
        (0..1_000_000).try_for_each(|n| to.send(&n))
    }
    let pool = ProcessPool::new(2);
    let (sender, receiver) = channel().unwrap();

    let receives = pool.submit(receives_and_dies::call(receiver));
    let sends = pool.submit(sends_on::call(sender));

    assert_eq!(claim(sends), Ok(Err(ChannelError::Closed)));
    assert!(claim(receives).is_err());
}

#[test]
fn what_a_task_drops_is_dropped_while_it_runs() {
    #[raincheck::task]
    fn asks(question: Sender<u64>, answer: Receiver<u64>) -> u64 {
        question.send(&6).unwrap();
        drop(question);
        answer.recv().unwrap()
    }
    #[raincheck::task]
    fn answers(question: Receiver<u64>, answer: Sender<u64>) {
        let all: u64 = question.iter().map(Result::unwrap).sum();
        answer.send(&(7 * all)).unwrap();
    }
    let pool = ProcessPool::new(2);
    let (question, questions) = channel().unwrap();
    let (answer, of_it) = channel().unwrap();

    let answering = pool.submit(answers::call(questions, answer));
    let asking = pool.submit(asks::call(question, of_it));

    assert_eq!(claim(asking), Ok(42));
    assert_eq!(claim(answering), Ok(()));
}

#[test]
fn nobody_waits_longer_than_they_say() {
    let (sender, receiver) = channel::<u64>().unwrap();

    assert_eq!(receiver.recv_timeout(MOMENT), Err(ChannelError::TimedOut));
    let full = (0..1_000_000).find_map(|n| sender.send_timeout(&n, MOMENT).err());

    assert_eq!(full, Some(ChannelError::TimedOut));
    assert_eq!(receiver.recv(), Ok(0));
}

#[test]
fn a_large_value_goes_through_too() {
    #[raincheck::task]
    fn produce_large(to: Sender<String>) {
        for n in [1, 40_000, 5_000_000] {
            to.send(&"rain".repeat(n)).unwrap();
        }
    }
    let (sender, receiver) = channel::<String>().unwrap();
    let task = ProcessPool::new(1).submit(produce_large::call(sender));

    let lengths: Vec<_> = receiver.iter().map(|text| text.unwrap().len()).collect();

    assert_eq!(lengths, [4, 160_000, 20_000_000]);
    assert_eq!(claim(task), Ok(()));
}

#[test]
fn an_end_can_be_a_tasks_value() {
    #[raincheck::task]
    fn filled() -> Receiver<u64> {
        let (sender, receiver) = channel().unwrap();
        (0..3).for_each(|n| sender.send(&n).unwrap());
        receiver
    }

    let receiver = claim(ProcessPool::new(1).submit(filled::call())).unwrap();

    assert_eq!(receiver.iter().collect::<Result<Vec<_>, _>>(), Ok(vec![0, 1, 2]));
}

#[test]
fn an_end_that_cannot_go_somewhere_says_where_it_can() {
    let (sender, receiver) = channel::<Sender<u64>>().unwrap();
    let (end, _) = channel::<u64>().unwrap();

    let errors = [serde_json::to_string(&end).unwrap_err().to_string(), sender.send(&end).unwrap_err().to_string()];

    assert!(errors.iter().all(|error| error.contains("only as an argument or a value of a task")), "{errors:?}");
    drop(sender);
    assert!(matches!(receiver.recv(), Err(ChannelError::Closed)));
}
