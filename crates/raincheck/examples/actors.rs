//! Actors: each has a state of its own that nobody else touches, and an inbox.
//!
//! An actor is a task that takes one message after the other. Whoever wants an answer puts a promise into the message,
//! and keeps the future that belongs to it: `ask` returns at once, and the answer is claimed when it is needed.
//!
//! ```sh
//! cargo run --example actors
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::mpsc::{self, Receiver, Sender};

use raincheck::{Executor, Promise, TaskError, TaskFuture, ThreadPool, promise};

enum Message {
    Deposit(u64),
    Withdraw(u64, Promise<Result<u64, String>>),
}

/// Where an account can be reached.
#[derive(Clone)]
struct Account(Sender<Message>);

impl Account {
    fn open(pool: &ThreadPool) -> (Self, TaskFuture<u64>) {
        let (sender, inbox) = mpsc::channel();
        (Self(sender), pool.submit(move || serve(inbox)))
    }

    fn deposit(&self, amount: u64) {
        // Were the account closed, there would be nobody to tell.
        let _ = self.0.send(Message::Deposit(amount));
    }

    /// What is left then, or why it cannot be. If the account has closed, the promise is dropped, and the future says so.
    fn withdraw(&self, amount: u64) -> TaskFuture<Result<u64, String>> {
        let (answer, future) = promise();
        let _ = self.0.send(Message::Withdraw(amount, answer));
        future
    }
}

/// The actor's life: the balance is its own, so there is nothing to lock. It ends when nobody can reach it any more.
fn serve(inbox: Receiver<Message>) -> u64 {
    let mut balance = 0_u64;
    for message in inbox {
        match message {
            Message::Deposit(amount) => balance += amount,
            Message::Withdraw(amount, answer) => {
                let left = balance.checked_sub(amount).ok_or_else(|| format!("only {balance} left"));
                balance = *left.as_ref().unwrap_or(&balance);
                answer.finish(Ok(left));
            }
        }
    }
    balance
}

fn main() -> Result<(), TaskError> {
    let pool = ThreadPool::new(4);
    let (account, closed) = Account::open(&pool);

    let customers: Vec<_> = (1..=3)
        .map(|customer| {
            let account = account.clone();
            pool.submit(move || (0..100).for_each(|_| account.deposit(customer)))
        })
        .collect();
    for customer in customers {
        customer.result()?;
    }
    println!("withdraw 500: {:?}", account.withdraw(500).result()?);
    println!("withdraw 500: {:?}", account.withdraw(500).result()?);

    drop(account);
    println!("closed with {}", closed.result()?);
    Ok(())
}
