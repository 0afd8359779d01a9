//! The call of a function, as a value that can go anywhere.
//!
//! `#[task]` leaves a function as it is, and adds a type of the same name that knows it: its name, its arguments, what
//! it returns. A [`Call`] is that type with the arguments. Executors in this process run it as it stands; for any
//! other it can be written down and read back.

use std::{fmt, marker::PhantomData, pin::Pin, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
    ser::SerializeStruct,
};

#[cfg(all(feature = "process", unix))]
use crate::{
    carry::{self, Written},
    error::TaskError,
};
use crate::{
    context::{cancelled, checkpoint, lane},
    error::Outcome,
    event::Lane,
    executor::Executor,
    map::{Applied, Apply, Batch, Common, Function},
    panics::catch,
    task::{AsyncBody, Body, Work, kind},
};

/// A function that is marked `#[raincheck::task]`; implemented by the type that the attribute adds.
pub trait TaskFunction: Send + 'static {
    /// Its arguments, all of them owned, as a tuple.
    type Args: Portable;

    /// What it returns.
    type Output: Send + 'static;

    /// What it is called everywhere: unless said, the path of its module and its name.
    const NAME: &'static str;

    /// Its arguments' names and types and what it returns, as written: for two programs to see that they mean the
    /// same function.
    const SIGNATURE: &'static str;

    /// The names of its arguments.
    const PARAMETERS: &'static [&'static str];

    /// Whether it is an `async fn`.
    const ASYNC: bool;

    /// Calls it.
    #[doc(hidden)]
    fn start(args: Self::Args) -> Begun<Self::Output>;

    /// It, as other processes of this program find it.
    #[cfg(all(feature = "process", unix))]
    #[doc(hidden)]
    fn entry() -> &'static crate::carry::Entry;

    #[cfg(all(feature = "process", unix))]
    #[doc(hidden)]
    fn write_output(output: Self::Output, to: &mut Vec<u8>) -> Result<(), String>;

    #[cfg(all(feature = "process", unix))]
    #[doc(hidden)]
    fn read_output(bytes: &[u8]) -> Result<Self::Output, String>;
}

/// What a call gives at once: its value, or a future of it.
#[doc(hidden)]
pub enum Begun<T> {
    Value(T),
    Future(Pin<Box<dyn Future<Output = T> + Send>>),
}

/// What can go to another process: written down and read back by serde.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a task, which can go to another process",
    label = "cannot be written down and read back",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it; a closure can take whatever is `Send`"
)]
pub trait Portable: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Portable for T {}

/// A call of a `#[task]` function, with its arguments: made by `name::call(…)`.
///
/// It can be submitted to any executor. With serde it is a structure of the task's name and the tuple of its
/// arguments; reading one back that names another task is an error.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ThreadPool};
///
/// #[raincheck::task]
/// fn area(width: u32, height: u32) -> u32 {
///     width * height
/// }
///
/// let call = area::call(6, 7);
/// assert!(call.name().ends_with("::area"));
/// assert_eq!(ThreadPool::new(1).submit(call).result()?, area(6, 7));
/// # Ok::<(), raincheck::TaskError>(())
/// ```
pub struct Call<F: TaskFunction>(F::Args);

impl<F: TaskFunction> Call<F> {
    /// The call with these arguments.
    pub fn new(args: F::Args) -> Self {
        Self(args)
    }

    /// What the function is called everywhere.
    pub fn name(&self) -> &'static str {
        F::NAME
    }

    /// The arguments.
    pub fn args(&self) -> &F::Args {
        &self.0
    }

    /// Takes the arguments out.
    pub fn into_args(self) -> F::Args {
        self.0
    }
}

impl<F: TaskFunction<Args: Clone>> Clone for Call<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F: TaskFunction<Args: fmt::Debug>> fmt::Debug for Call<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(F::NAME)?;
        self.0.fmt(f)
    }
}

impl<F: TaskFunction> Serialize for Call<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut call = serializer.serialize_struct("Call", 2)?;
        call.serialize_field("task", F::NAME)?;
        call.serialize_field("args", &self.0)?;
        call.end()
    }
}

impl<'de, F: TaskFunction> Deserialize<'de> for Call<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<F>(PhantomData<F>);

        impl<'de, F: TaskFunction> serde::de::Visitor<'de> for Visitor<F> {
            type Value = Call<F>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a call of the task `{}`", F::NAME)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut fields: A) -> Result<Call<F>, A::Error> {
                let name: String = fields.next_element()?.ok_or_else(|| A::Error::missing_field("task"))?;
                check::<F, A::Error>(&name)?;
                fields.next_element()?.map(Call).ok_or_else(|| A::Error::missing_field("args"))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut fields: A) -> Result<Call<F>, A::Error> {
                let mut args = None;
                let mut is_named = false;
                while let Some(field) = fields.next_key::<String>()? {
                    match field.as_str() {
                        "task" => {
                            check::<F, A::Error>(&fields.next_value::<String>()?)?;
                            is_named = true;
                        }
                        "args" => args = Some(fields.next_value()?),
                        _ => return Err(A::Error::unknown_field(&field, FIELDS)),
                    }
                }
                if !is_named {
                    return Err(A::Error::missing_field("task"));
                }
                args.map(Call).ok_or_else(|| A::Error::missing_field("args"))
            }
        }

        deserializer.deserialize_struct("Call", FIELDS, Visitor(PhantomData))
    }
}

const FIELDS: &[&str] = &["task", "args"];

fn check<F: TaskFunction, E: serde::de::Error>(name: &str) -> Result<(), E> {
    if name == F::NAME {
        return Ok(());
    }
    Err(E::custom(format_args!("a call of the task `{name}`, where one of `{}` is expected", F::NAME)))
}

/// A `#[task]` function as such, for [`Executor::map`]: made by `name::task()`.
///
/// A function of one argument is applied to inputs of its type, one of several to tuples.
pub struct TaskOf<F>(PhantomData<fn() -> F>);

impl<F: TaskFunction> TaskOf<F> {
    #[doc(hidden)]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<F> Clone for TaskOf<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for TaskOf<F> {}

impl<F: TaskFunction> fmt::Debug for TaskOf<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(F::NAME)
    }
}

impl<E: Executor + ?Sized, F: TaskFunction> Work<E, kind::Call> for Call<F> {
    type Output = F::Output;
    type Body = CallBody<F>;

    fn into_body(self) -> CallBody<F> {
        CallBody::of(self.0)
    }
}

/// A call as its worker makes it.
#[doc(hidden)]
pub struct CallBody<F: TaskFunction>(Arguments<F::Args>);

/// What a function is called with.
enum Arguments<A> {
    /// As they are.
    Here(A),
    /// Written down, for a worker in another process.
    #[cfg(all(feature = "process", unix))]
    Written(Arc<Written>),
    /// They could not be written down, and the call is refused.
    #[cfg(all(feature = "process", unix))]
    Lost,
}

impl<F: TaskFunction> CallBody<F> {
    pub(crate) fn of(args: F::Args) -> Self {
        Self(Arguments::Here(args))
    }

    /// The arguments, which are read back if they were written down.
    fn into_args(self) -> Outcome<F::Args> {
        match self.0 {
            Arguments::Here(args) => Ok(args),
            #[cfg(all(feature = "process", unix))]
            Arguments::Written(written) => carry::args_of::<F>(&written),
            #[cfg(all(feature = "process", unix))]
            Arguments::Lost => Err(TaskError::not_carried("its arguments could not be written down")),
        }
    }
}

impl<F: TaskFunction> Body for CallBody<F> {
    type Output = F::Output;
    const ASYNC: bool = F::ASYNC;

    fn perform(self) -> Outcome<F::Output> {
        let args = self.into_args()?;
        match catch(|| F::start(args))? {
            Begun::Value(value) => Ok(value),
            Begun::Future(future) => AsyncBody::new(future).perform(),
        }
    }

    fn into_future(self) -> Pin<Box<dyn Future<Output = F::Output> + Send>> {
        Box::pin(async move {
            match self.into_args() {
                Ok(args) => finish(F::start(args)).await,
                // What is driven here was submitted here, and never written down, or was read before.
                Err(error) => panic!("{error}"),
            }
        })
    }

    #[cfg(all(feature = "process", unix))]
    fn write_down(&mut self) -> Result<(), TaskError> {
        if let Arguments::Here(args) = std::mem::replace(&mut self.0, Arguments::Lost) {
            self.0 = Arguments::Written(carry::write_call::<F>(args)?);
        }
        Ok(())
    }

    #[cfg(all(feature = "process", unix))]
    fn written(&self) -> Option<&Arc<Written>> {
        match &self.0 {
            Arguments::Written(written) => Some(written),
            Arguments::Here(_) | Arguments::Lost => None,
        }
    }

    #[cfg(all(feature = "process", unix))]
    fn read_back(value: &[u8]) -> Outcome<F::Output> {
        carry::read_value::<F>(value)
    }
}

async fn finish<T>(begun: Begun<T>) -> T {
    match begun {
        Begun::Value(value) => value,
        Begun::Future(future) => future.await,
    }
}

/// An input of `map` that makes the arguments of a task: the one argument, or the tuple of several.
#[diagnostic::on_unimplemented(
    message = "a task with the arguments `{Args}` cannot be applied to a `{Self}`",
    note = "each input is the task's argument itself, or the tuple of them if there are several; as in `inputs.map(String::from)`"
)]
pub trait Input<Args> {
    #[doc(hidden)]
    fn into_args(self) -> Args;
}

impl<T> Input<(T,)> for T {
    fn into_args(self) -> (T,) {
        (self,)
    }
}

macro_rules! tuples_are_inputs {
    ($(($($T:ident)+))+) => {$(
        impl<$($T),+> Input<($($T,)+)> for ($($T,)+) {
            fn into_args(self) -> Self {
                self
            }
        }
    )+};
}

tuples_are_inputs! {
    (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
}

impl<E, In, F> Function<E, In, kind::Call> for TaskOf<F>
where
    E: Executor + ?Sized,
    In: Input<F::Args> + Send + 'static,
    F: TaskFunction,
{
    type Output = F::Output;
    type Body = CallGroup<F, In>;
    const GROUPS: bool = !F::ASYNC;

    fn into_maker(
        self,
        common: Arc<Common<In, F::Output>>,
    ) -> impl Fn(Batch<In, F::Output>) -> CallGroup<F, In> + 'static {
        move |mut batch| {
            if F::ASYNC {
                // The value comes back by itself, and meanwhile nothing keeps a place among all of them.
                batch.piece = None;
            }
            CallGroup {
                batch,
                common: Arc::clone(&common),
                #[cfg(all(feature = "process", unix))]
                written: None,
            }
        }
    }
}

/// Calls of one function, one after the other.
#[doc(hidden)]
pub struct CallGroup<F: TaskFunction, In> {
    batch: Batch<In, F::Output>,
    common: Arc<Common<In, F::Output>>,
    /// The inputs, once they are written down.
    #[cfg(all(feature = "process", unix))]
    written: Option<Arc<Written>>,
}

impl<F, In> Body for CallGroup<F, In>
where
    In: Input<F::Args> + Send + 'static,
    F: TaskFunction,
{
    type Output = Applied<F::Output>;
    const ASYNC: bool = F::ASYNC;

    fn perform(self) -> Outcome<Applied<F::Output>> {
        #[cfg(all(feature = "process", unix))]
        if let Some(written) = &self.written {
            return carry::apply_here::<F>(written);
        }
        if F::ASYNC {
            return AsyncBody::new(self.into_future()).perform();
        }
        let call = |input: In| match F::start(input.into_args()) {
            Begun::Value(value) => value,
            Begun::Future(_) => unreachable!("only an async function begins with a future"),
        };
        Apply::new(Arc::new(call), self.batch, self.common).perform()
    }

    fn into_future(self) -> Pin<Box<dyn Future<Output = Applied<F::Output>> + Send>> {
        Box::pin(async move {
            let mut values = Vec::with_capacity(self.batch.inputs.len());
            for input in self.batch.inputs {
                values.push(finish(F::start(input.into_args())).await);
            }
            Applied::of(values)
        })
    }

    #[cfg(all(feature = "process", unix))]
    fn write_down(&mut self) -> Result<(), TaskError> {
        if self.written.is_none() {
            let inputs = std::mem::take(&mut self.batch.inputs);
            // The values come back by themselves.
            self.batch.piece = None;
            self.written = Some(carry::write_calls::<F>(inputs.into_iter().map(Input::into_args))?);
        }
        Ok(())
    }

    #[cfg(all(feature = "process", unix))]
    fn written(&self) -> Option<&Arc<Written>> {
        self.written.as_ref()
    }

    #[cfg(all(feature = "process", unix))]
    fn read_back(values: &[u8]) -> Outcome<Applied<F::Output>> {
        carry::read_values::<F>(values)
    }
}

/// What a task can ask about itself, as an argument: a task function with a parameter of type `&Context` is given it
/// by its worker, and its `call` does not have it.
///
/// The same questions can be asked anywhere in a task by [`cancelled`], [`checkpoint`] and [`lane`].
#[derive(Debug)]
pub struct Context(());

impl Context {
    #[doc(hidden)]
    pub fn new() -> Self {
        Self(())
    }

    /// Whether the task had better stop; see [`cancelled`].
    pub fn cancelled(&self) -> bool {
        cancelled()
    }

    /// Ends the task here if it is cancelled; see [`checkpoint`].
    pub fn checkpoint(&self) {
        checkpoint();
    }

    /// The lane that the task is on; see [`lane`].
    pub fn lane(&self) -> Option<Lane> {
        lane()
    }
}
