//! The workers as the intake sees them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use situs_model::Source;
use situs_policy::Judge;

use crate::buffer::Buffer;
use crate::client::{Client, Queue};
use crate::error::IngestError;
use crate::flush::Flusher;
use crate::held::Held;
use crate::host::{Host, Thread};
use crate::stage::Stage;
use crate::worker::{Adopted, Command, Worker};

/// How long a worker may take to answer. The longest thing that it does is to decode what it has read.
const ANSWER: Duration = Duration::from_secs(60);

/// All workers of a process.
#[derive(Debug)]
pub(crate) struct Workers<Q> {
    host: Arc<dyn Host>,
    workers: Vec<Handle<Q>>,
    held: bool,
}

#[derive(Debug)]
struct Handle<Q> {
    queue: Arc<Q>,
    commands: Sender<Command>,
    /// `None` once it has been joined.
    thread: Option<Box<dyn Thread>>,
    /// How its work ended, once it has.
    result: Arc<Mutex<Option<Result<(), IngestError>>>>,
    /// Partitions that it owns.
    partitions: usize,
}

impl<Q: Queue> Workers<Q> {
    /// Starts a worker for each set of stages.
    pub(crate) fn start(
        stages: Vec<Vec<Stage>>,
        client: &Arc<impl Client<Queue = Q>>,
        flusher: &Arc<Flusher>,
        held: &Arc<Held>,
    ) -> Result<Self, IngestError> {
        let mut workers = Vec::with_capacity(stages.len());
        for (number, stages) in stages.into_iter().enumerate() {
            let queue = Arc::new(client.queue().ok_or(IngestError::Worker("has no queue"))?);
            let (commands, receiver) = channel();
            let worker = Worker::new(number, stages, queue.clone(), flusher.clone(), held.clone(), receiver);
            let result = Arc::new(Mutex::new(None));
            let ended = result.clone();
            let work = move || {
                let result = worker.run();
                *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            };
            let thread = flusher
                .host
                .start(format!("worker-{number}"), Box::new(work))
                .map_err(|_| IngestError::Worker("could not be started"))?;
            workers.push(Handle { queue, commands, thread: Some(thread), result, partitions: 0 });
        }
        Ok(Self { host: flusher.host.clone(), workers, held: false })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.workers.len()
    }

    /// The worker that shall own one more partition.
    pub(crate) fn choose(&mut self) -> usize {
        let least = self.workers.iter().enumerate().min_by_key(|(_, worker)| worker.partitions);
        let number = least.map_or(0, |(number, _)| number);
        self.workers[number].partitions += 1;
        number
    }

    /// A partition is no longer owned by this worker.
    pub(crate) fn release(&mut self, number: usize) {
        let partitions = &mut self.workers[number].partitions;
        *partitions = partitions.saturating_sub(1);
    }

    /// Hands partitions over to a worker, which reads what they deliver from now on.
    pub(crate) fn adopt(&mut self, number: usize, partitions: Vec<Adopted>) -> Result<(), IngestError> {
        for partition in &partitions {
            if !self.workers[number].queue.take_over(&partition.source) {
                return Err(IngestError::Worker("cannot take a partition over"));
            }
        }
        let answer = self.ask(number, |done| Command::Adopt(partitions, done))?;
        self.wait(number, &answer)
    }

    /// Lets no worker read until [`go`](Self::go).
    pub(crate) fn hold(&mut self) -> Result<(), IngestError> {
        self.held = true;
        self.ask_all(Command::Hold).map(drop)
    }

    /// Whether no worker reads.
    pub(crate) fn are_held(&self) -> bool {
        self.held
    }

    /// Lets all workers read again.
    pub(crate) fn go(&mut self) {
        self.held = false;
        for worker in &self.workers {
            // One that is gone is noticed elsewhere.
            worker.commands.send(Command::Go).ok();
        }
    }

    /// Makes each worker judge by another policy: for each worker the judges of all pipelines.
    pub(crate) fn judge_by(&mut self, judges: Vec<Vec<Judge>>) -> Result<(), IngestError> {
        let each = judges.into_iter().enumerate();
        let answers = each
            .map(|(number, judges)| self.ask(number, |done| Command::JudgeBy(judges, done)))
            .collect::<Result<Vec<_>, _>>()?;
        answers.iter().enumerate().try_for_each(|(number, answer)| self.wait(number, answer))
    }

    /// Makes the workers forget partitions. The others of which buffered rows had to be dropped with
    /// them: they have to be read again from their settled offsets.
    pub(crate) fn forget(&mut self, sources: &[Source]) -> Result<Vec<Source>, IngestError> {
        Ok(self.ask_all(|done| Command::Drop(sources.to_vec(), done))?.concat())
    }

    /// Everything that the workers have of a pipeline.
    pub(crate) fn take(&mut self, stage: usize) -> Result<Buffer, IngestError> {
        let mut whole = Buffer::default();
        for buffer in self.ask_all(|done| Command::Take(stage, done))? {
            whole.merge(buffer);
        }
        Ok(whole)
    }

    /// The error of a worker that has ended.
    pub(crate) fn check(&mut self) -> Result<(), IngestError> {
        let over = |worker: &Handle<Q>| worker.thread.as_ref().is_some_and(|thread| thread.is_finished());
        match self.workers.iter().position(over) {
            None => Ok(()),
            Some(number) => Err(self.failure(number)),
        }
    }

    /// Ends all workers and waits for them.
    pub(crate) fn stop(self) {
        let told: Vec<_> = self
            .workers
            .into_iter()
            .map(|Handle { queue, commands, thread, .. }| {
                drop(commands);
                queue.wake();
                // The queue must go before the consumer does.
                thread
            })
            .collect();
        for thread in told.into_iter().flatten() {
            thread.join();
        }
    }

    fn ask<T>(
        &mut self,
        number: usize,
        command: impl FnOnce(Sender<T>) -> Command,
    ) -> Result<Receiver<T>, IngestError> {
        let (answer, answered) = channel();
        let worker = &self.workers[number];
        if worker.commands.send(command(answer)).is_err() {
            return Err(self.failure(number));
        }
        worker.queue.wake();
        Ok(answered)
    }

    fn wait<T>(&mut self, number: usize, answer: &Receiver<T>) -> Result<T, IngestError> {
        self.host.receive(answer, ANSWER).map_err(|_| self.failure(number))
    }

    /// Asks all at once, and then waits for each.
    fn ask_all<T>(&mut self, command: impl Fn(Sender<T>) -> Command) -> Result<Vec<T>, IngestError> {
        let numbers = 0..self.workers.len();
        let answers = numbers.map(|number| self.ask(number, &command)).collect::<Result<Vec<_>, _>>()?;
        answers.iter().enumerate().map(|(number, answer)| self.wait(number, answer)).collect()
    }

    /// Why a worker does not answer.
    fn failure(&mut self, number: usize) -> IngestError {
        let Handle { thread, result, .. } = &mut self.workers[number];
        // A worker that fails drops its end of the channel a moment before its thread ends.
        for _ in 0..100 {
            if thread.as_ref().is_none_or(|thread| thread.is_finished()) {
                break;
            }
            self.host.pause(Duration::from_millis(10));
        }
        match thread.take_if(|thread| thread.is_finished()).map(Thread::join) {
            // A panic's text could hold anything, so it is not repeated.
            Some(false) => IngestError::Worker("panicked"),
            Some(true) => match result.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(Err(error)) => error,
                _ => IngestError::Worker("ended by itself"),
            },
            None => IngestError::Worker("does not answer"),
        }
    }
}
