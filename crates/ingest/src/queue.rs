//! A queue of librdkafka's into which partitions deliver, read many messages at a time.
//!
//! rdkafka's own interface takes one message per call, at the price of a lock, two clock readings and an
//! event object each; and it panics at a header name that is not UTF-8. This is the one module of the
//! crate with `unsafe`: it calls `rd_kafka_consume_batch_queue` and reads what that gives.
#![allow(unsafe_code, reason = "librdkafka is a C library")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::consumer::Consumer as _;
use situs_model::Source;

use crate::client::{Message, Queue, Reader};
use crate::kafka::Kafka;

/// Messages that one read gives at most.
const MESSAGES: usize = 4096;

/// A queue that partitions can be told to deliver into.
pub(crate) struct DeliveryQueue {
    queue: NonNull<c::rd_kafka_queue_t>,
    /// Lives as long as the queue.
    client: Arc<Kafka>,
}

// SAFETY: a queue of librdkafka's has a lock of its own, and every function called on it here may be
// called from any thread (librdkafka's INTRODUCTION.md, "Threads and callbacks": its API is thread-safe).
unsafe impl Send for DeliveryQueue {}
// SAFETY: as above.
unsafe impl Sync for DeliveryQueue {}

impl std::fmt::Debug for DeliveryQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryQueue").finish_non_exhaustive()
    }
}

impl DeliveryQueue {
    /// A queue of this client, into which nothing is delivered yet. `None` if there is no memory.
    pub(crate) fn new(client: Arc<Kafka>) -> Option<Self> {
        // SAFETY: the pointer is that of a client which `client` keeps alive.
        let queue = unsafe { c::rd_kafka_queue_new(client.consumer().client().native_ptr()) };
        Some(Self { queue: NonNull::new(queue)?, client })
    }
}

impl Queue for DeliveryQueue {
    type Reader = QueueReader;

    fn take_over(&self, partition: &Source) -> bool {
        let Ok(topic) = CString::new(&*partition.topic) else { return false };
        // SAFETY: client and topic are alive; the new reference to the partition's queue is given back
        // below. Forwarding takes references of its own to both queues.
        unsafe {
            let client = self.client.consumer().client().native_ptr();
            let from = c::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition.partition);
            if from.is_null() {
                return false;
            }
            c::rd_kafka_queue_forward(from, self.queue.as_ptr());
            c::rd_kafka_queue_destroy(from);
        }
        true
    }

    fn start_of(&self, partition: &Source) -> Option<i64> {
        let topic = CString::new(&*partition.topic).ok()?;
        let (mut start, mut end) = (-1, -1);
        // SAFETY: client and topic are alive; both offsets are written to places of their type. This asks
        // nobody: it reads what the client remembers.
        let error = unsafe {
            let client = self.client.consumer().client().native_ptr();
            let (start, end) = (&raw mut start, &raw mut end);
            c::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition.partition, start, end)
        };
        (error == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && start >= 0).then_some(start)
    }

    fn wake(&self) {
        // SAFETY: the queue is alive.
        unsafe { c::rd_kafka_queue_yield(self.queue.as_ptr()) }
    }

    fn note_error(&self, code: i32, topic: &str, partition: i32) {
        self.client.consumer().context().fetch_error(code, topic, partition);
    }

    fn reader(self: &Arc<Self>) -> QueueReader {
        QueueReader { messages: Vec::new(), queue: self.clone() }
    }
}

impl Drop for DeliveryQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is alive, nobody uses it after this, and the client outlives it.
        unsafe { c::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Reads a queue, with room for messages that is used again.
#[derive(Debug)]
pub(crate) struct QueueReader {
    /// Before the queue, so that none outlives the client.
    messages: Vec<Delivered>,
    queue: Arc<DeliveryQueue>,
}

impl Reader for QueueReader {
    type Message = Delivered;

    fn read(&mut self, limit: Duration) -> &[Delivered] {
        self.messages.clear();
        self.messages.reserve(MESSAGES);
        let milliseconds = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: there is room for `MESSAGES` pointers, and `Delivered` is a pointer that may not be null.
        // librdkafka writes as many as it says, none of them null, and hands over what they point to.
        unsafe {
            let room: *mut *mut c::rd_kafka_message_t = self.messages.as_mut_ptr().cast();
            let queue = self.queue.queue.as_ptr();
            let count = c::rd_kafka_consume_batch_queue(queue, milliseconds, room, MESSAGES);
            self.messages.set_len(usize::try_from(count).unwrap_or(0));
        }
        &self.messages
    }

    // Each message keeps the whole response in memory that it came with.
    fn clear(&mut self) {
        self.messages.clear();
    }
}

/// A message, or an error that took a message's place.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Delivered {
    message: NonNull<c::rd_kafka_message_t>,
}

impl Drop for Delivered {
    fn drop(&mut self) {
        // SAFETY: the message is ours, and this is the only time that it is given back.
        unsafe { c::rd_kafka_message_destroy(self.message.as_ptr()) }
    }
}

impl Delivered {
    fn get(&self) -> &c::rd_kafka_message_t {
        // SAFETY: the message is ours until it is dropped, and nobody writes to the fields read here.
        unsafe { self.message.as_ref() }
    }
}

impl Message for Delivered {
    fn error(&self) -> Option<i32> {
        // SAFETY: the message is alive. The code is read as the number that it is in C: a broker may send
        // one that the enumeration does not have, which no Rust value may hold.
        let code: i32 = unsafe { (&raw const (*self.message.as_ptr()).err).cast::<i32>().read() };
        (code != 0).then_some(code)
    }

    fn topic_handle(&self) -> usize {
        self.get().rkt as usize
    }

    fn topic(&self) -> &str {
        let topic = self.get().rkt;
        if topic.is_null() {
            return "";
        }
        // SAFETY: the message holds a reference to its topic, whose name is a C string that does not
        // change. Kafka allows letters, digits, `.`, `_` and `-` in it.
        let name = unsafe { CStr::from_ptr(c::rd_kafka_topic_name(topic)) };
        name.to_str().unwrap_or("")
    }

    fn partition(&self) -> i32 {
        self.get().partition
    }

    fn offset(&self) -> i64 {
        self.get().offset
    }

    fn key(&self) -> Option<&[u8]> {
        let message = self.get();
        // SAFETY: librdkafka gives address and length of the key, which lives as long as the message.
        unsafe { bytes(message.key, message.key_len) }
    }

    fn payload(&self) -> Option<&[u8]> {
        let message = self.get();
        // SAFETY: as for the key. (For errors this is the error's text, which nobody asks for.)
        unsafe { bytes(message.payload, message.len) }
    }

    fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive; the kind is written to a place of its type.
        let time = unsafe { c::rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut kind) };
        (time >= 0 && kind != c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(time)
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive. librdkafka parses the headers once and keeps them with the message;
        // it does so only here, and a message is used by one thread at a time (it is not `Sync`).
        let error = unsafe { c::rd_kafka_message_headers(self.message.as_ptr(), &raw mut headers) };
        if error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            headers = ptr::null_mut();
        }
        Headers { headers: NonNull::new(headers), next: 0, message: std::marker::PhantomData }
    }
}

/// Iterates over a message's headers.
#[derive(Debug)]
pub(crate) struct Headers<'a> {
    headers: Option<NonNull<c::rd_kafka_headers_t>>,
    next: usize,
    message: std::marker::PhantomData<&'a Delivered>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let headers = self.headers?;
        let mut name: *const c_char = ptr::null();
        let mut value: *const c_void = ptr::null();
        let mut size = 0;
        // SAFETY: the list belongs to the message, which is borrowed for `'a`; name and value lie in it.
        unsafe {
            let error = c::rd_kafka_header_get_all(
                headers.as_ptr(),
                self.next,
                &raw mut name,
                &raw mut value,
                &raw mut size,
            );
            if error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return None;
            }
            self.next += 1;
            Some((CStr::from_ptr(name).to_bytes(), bytes(value, size)))
        }
    }
}

/// A slice of what librdkafka gives as address and length; `None` if the address is null.
///
/// # Safety
/// So many bytes at the address must be readable and unchanged for `'a`.
unsafe fn bytes<'a>(address: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's.
    (!address.is_null()).then(|| unsafe { slice::from_raw_parts(address.cast(), length) })
}
