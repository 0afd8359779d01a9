//! A promise is kept once.
//~ use of moved value: `promise`

fn main() {
    let (promise, _future) = raincheck::promise();
    promise.finish(Ok(1));
    promise.finish(Ok(2));
}
