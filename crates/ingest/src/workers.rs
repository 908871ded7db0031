//! The workers as the intake sees them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use situs_model::Source;

use crate::buffer::Buffer;
use crate::flush::Flusher;
use crate::held::Held;
use crate::intake::IngestError;
use crate::kafka::Context;
use crate::queue::Queue;
use crate::stage::Stage;
use crate::worker::{Adopted, Command, Worker};

/// How long a worker may take to answer. The longest thing that it does is to decode what it has read.
const ANSWER: Duration = Duration::from_secs(60);

/// All workers of a process.
#[derive(Debug)]
pub(crate) struct Workers {
    workers: Vec<Handle>,
    held: bool,
}

#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
    commands: Sender<Command>,
    /// `None` once it has been joined.
    thread: Option<JoinHandle<Result<(), IngestError>>>,
    /// Partitions that it owns.
    partitions: usize,
}

impl Workers {
    /// Starts a worker for each set of stages.
    pub(crate) fn start(
        stages: Vec<Vec<Stage>>,
        consumer: &Arc<BaseConsumer<Context>>,
        flusher: &Arc<Flusher>,
        held: &Arc<Held>,
    ) -> Result<Self, IngestError> {
        let mut workers = Vec::with_capacity(stages.len());
        for (number, stages) in stages.into_iter().enumerate() {
            let queue = Arc::new(Queue::new(consumer.clone()).ok_or(IngestError::Worker("has no queue"))?);
            let (commands, receiver) = channel();
            let worker = Worker::new(number, stages, queue.clone(), flusher.clone(), held.clone(), receiver);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || worker.run())
                .map_err(|_| IngestError::Worker("could not be started"))?;
            workers.push(Handle { queue, commands, thread: Some(thread), partitions: 0 });
        }
        Ok(Self { workers, held: false })
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
            let Source { topic, partition, .. } = &partition.source;
            if !self.workers[number].queue.take_over(topic, *partition) {
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
        let over = |worker: &Handle| worker.thread.as_ref().is_some_and(JoinHandle::is_finished);
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
            thread.join().ok();
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
        answer.recv_timeout(ANSWER).map_err(|_| self.failure(number))
    }

    /// Asks all at once, and then waits for each.
    fn ask_all<T>(&mut self, command: impl Fn(Sender<T>) -> Command) -> Result<Vec<T>, IngestError> {
        let numbers = 0..self.workers.len();
        let answers = numbers.map(|number| self.ask(number, &command)).collect::<Result<Vec<_>, _>>()?;
        answers.iter().enumerate().map(|(number, answer)| self.wait(number, answer)).collect()
    }

    /// Why a worker does not answer.
    fn failure(&mut self, number: usize) -> IngestError {
        let thread = &mut self.workers[number].thread;
        // A worker that fails drops its end of the channel a moment before its thread ends.
        for _ in 0..100 {
            if thread.as_ref().is_none_or(JoinHandle::is_finished) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        match thread.take_if(|thread| thread.is_finished()).map(JoinHandle::join) {
            Some(Ok(Err(error))) => error,
            // A panic's text could hold anything, so it is not repeated.
            Some(Err(_)) => IngestError::Worker("panicked"),
            Some(Ok(Ok(()))) => IngestError::Worker("ended by itself"),
            None => IngestError::Worker("does not answer"),
        }
    }
}
