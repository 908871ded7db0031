//! Asking librdkafka's client for the ids of topics.
//!
//! rdkafka's own interface has no such call. This is a leaf module with `unsafe`: it calls
//! `rd_kafka_DescribeTopics`, waits on a queue of its own and reads what that gives.
#![allow(unsafe_code, reason = "librdkafka is a C library")]

use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::consumer::Consumer as _;
use situs_model::TopicId;

use crate::client::{ClientError, Told, TopicIds};
use crate::kafka::Kafka;

/// Something of librdkafka's that is given back by a function of its own.
struct Owned<T> {
    place: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes over what `place` points to; an error if that is nothing.
    ///
    /// # Safety
    /// It must be ours, and `destroy` the function that gives it back.
    unsafe fn new(place: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self, ClientError> {
        let place = NonNull::new(place).ok_or_else(|| ClientError("out of memory".to_owned()))?;
        Ok(Self { place, destroy })
    }

    fn get(&self) -> *mut T {
        self.place.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it is ours (`new`), and this is the only time that it is given back.
        unsafe { (self.destroy)(self.place.as_ptr()) }
    }
}

impl TopicIds for Kafka {
    fn topic_ids(&self, topics: &[Arc<str>], limit: Duration) -> Result<Vec<Told>, ClientError> {
        let names = topics.iter().map(|topic| CString::new(&**topic)).collect::<Result<Vec<_>, _>>();
        let names = names.map_err(|_| ClientError("a topic's name holds a zero".to_owned()))?;
        let mut addresses: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let milliseconds = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1);
        if !self.has_controller(topics, limit)? {
            return Ok(vec![Told::NoId; topics.len()]);
        }
        let client = self.consumer().client().native_ptr();
        // SAFETY: `client` is that of a client which `self` keeps alive. The collection copies the names, and
        // the request copies collection and options. Each of the four things is ours and is given back by the
        // function that librdkafka names for it; the event before the queue, both before the client.
        let (queue, event) = unsafe {
            let queue = Owned::new(c::rd_kafka_queue_new(client), c::rd_kafka_queue_destroy)?;
            let collection = Owned::new(
                c::rd_kafka_TopicCollection_of_topic_names(addresses.as_mut_ptr(), addresses.len()),
                c::rd_kafka_TopicCollection_destroy,
            )?;
            let options = Owned::new(
                c::rd_kafka_AdminOptions_new(
                    client,
                    c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
                ),
                c::rd_kafka_AdminOptions_destroy,
            )?;
            // The only thing that can be wrong with a timeout is that it is out of range: then librdkafka's
            // own one holds, and we go earlier.
            c::rd_kafka_AdminOptions_set_request_timeout(options.get(), milliseconds, ptr::null_mut(), 0);
            c::rd_kafka_DescribeTopics(client, collection.get(), options.get(), queue.get());
            let event = c::rd_kafka_queue_poll(queue.get(), milliseconds.saturating_add(500));
            if event.is_null() {
                return Err(ClientError("the broker does not tell the ids of topics in time".to_owned()));
            }
            (queue, Owned::new(event, c::rd_kafka_event_destroy)?)
        };
        let told = read(&event, topics.len());
        drop(event);
        drop(queue);
        told
    }
}

impl Kafka {
    /// Whether the cluster has a controller, which is the one that is asked for ids. librdkafka's mock broker
    /// names one that is not there, and would be waited for in vain.
    fn has_controller(&self, topics: &[Arc<str>], limit: Duration) -> Result<bool, ClientError> {
        // A cluster that has had one has one again, sooner or later.
        if self.controller_seen.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let topic = topics.first().map(|topic| &**topic);
        let metadata = self.consumer().fetch_metadata(topic, limit)?;
        // SAFETY: the client is alive. Without time to wait this reads what the client remembers.
        let controller = unsafe { c::rd_kafka_controllerid(self.consumer().client().native_ptr(), 0) };
        let is_there = metadata.brokers().iter().any(|broker| broker.id() == controller);
        self.controller_seen.store(is_there, Ordering::Relaxed);
        Ok(is_there)
    }
}

/// Reads the answer of a request for so many topics.
fn read(event: &Owned<c::rd_kafka_event_t>, topics: usize) -> Result<Vec<Told>, ClientError> {
    let mut count = 0;
    // SAFETY: the event is alive, and its result and what that names live as long as it does. The result is
    // null if the event is of another kind, which is looked at; so is the array if there is nothing in it.
    // Codes of errors are read by their names, since a broker may send a code that no Rust value may hold.
    unsafe {
        let result = c::rd_kafka_event_DescribeTopics_result(event.get());
        if result.is_null() {
            return Err(ClientError("the client answers something else".to_owned()));
        }
        let array = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if array.is_null() || count != topics {
            let text = c::rd_kafka_event_error_string(event.get());
            let text = if text.is_null() { c"nothing" } else { CStr::from_ptr(text) };
            return Err(ClientError(format!("ids of topics: {}", text.to_string_lossy())));
        }
        // They come in the order in which they were asked for.
        (0..count).map(|place| told(*array.add(place))).collect()
    }
}

/// What is said of one topic.
///
/// # Safety
/// The description must be alive, or null.
unsafe fn told(topic: *const c::rd_kafka_TopicDescription_t) -> Result<Told, ClientError> {
    if topic.is_null() {
        return Err(ClientError("the broker does not tell the id of each topic".to_owned()));
    }
    // SAFETY: the caller's. Error and id belong to the description; an error is null or has a code, whose name is
    // a text that lasts until this thread asks for another.
    unsafe {
        let error = c::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let name = CStr::from_ptr(c::rd_kafka_error_name(error));
            match name.to_bytes() {
                b"NO_ERROR" => {}
                b"UNKNOWN_TOPIC_OR_PART" => return Ok(Told::NoTopic),
                b"TOPIC_AUTHORIZATION_FAILED" => return Ok(Told::NoId),
                _ => return Err(ClientError(format!("a topic's id: {}", name.to_string_lossy()))),
            }
        }
        let id = c::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return Ok(Told::NoId);
        }
        let (high, low) =
            (c::rd_kafka_Uuid_most_significant_bits(id), c::rd_kafka_Uuid_least_significant_bits(id));
        let bits = u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned());
        // A broker that knows no ids gives zeros.
        Ok(TopicId::of_bits(bits).map_or(Told::NoId, Told::Id))
    }
}
