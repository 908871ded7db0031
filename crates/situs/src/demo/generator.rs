//! Believable telemetry, endless and the same for the same seed.
//!
//! Two plants with twenty machining centres and six AR devices each, Nanning (`nn-…`) and Stuttgart
//! (`st-…`), as `pipelines/policy.yaml` registers them, and [`UNREGISTERED`], which nobody has registered.
//! [`LIAR`] stands in Nanning and says `DE`. One message in a hundred is malformed. Each message says what
//! it must come to, so that a run can be checked against what was sent.
//!
//! The generator keeps a clock of its own, which begins at `start_ms` and moves on by a second with every
//! [`MESSAGES_PER_SECOND`] messages, however fast they are taken.

mod ar;
mod cnc;
mod flaw;
mod machine;
mod random;
mod text;
mod waveform;

use situs_model::UndeterminedReason;

use self::ar::Device;
use self::cnc::PubSub;
use self::flaw::Flaw;
use self::machine::Machine;
use self::random::Random;
use self::waveform::Recorder;

/// The topics, each with the number of partitions over which the generator spreads it.
pub const TOPICS: [(&str, i32); 7] = [
    ("cnc.state", 4),
    ("cnc.observation", 8),
    ("cnc.waveform", 2),
    ("process.window", 2),
    ("opcua.pubsub", 4),
    ("ar.calibration", 1),
    ("ar.pose", 2),
];

/// A machine that no site has registered.
pub const UNREGISTERED: &str = "gx-cnc-777";

/// A machine of Nanning that claims to stand in Germany, on the topics whose messages carry a claim.
pub const LIAR: &str = "nn-cnc-020";

/// Messages in a second of the generator's clock.
pub const MESSAGES_PER_SECOND: u64 = 496;

/// What comes in a second: state once and observations eight times per machine, windows every two seconds.
const SECOND: [(Kind, usize); 8] = [
    (Kind::State, 41),
    (Kind::Observation, 328),
    (Kind::PubSub, 41),
    (Kind::Window, 21),
    (Kind::Pose, 60),
    (Kind::Calibration, 2),
    (Kind::Block, 1),
    (Kind::Event, 2),
];

/// What a message must come to when it passes the pipelines and the policy that ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expect {
    /// All its rows are stored in this zone.
    Stored {
        /// The zone.
        zone: &'static str,
    },
    /// It gives no row by design, and is counted.
    WithoutRows,
    /// It is kept in quarantine.
    Quarantined {
        /// The reason's word.
        reason: &'static str,
    },
}

/// A message to send. Its buffers are used again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic, one of [`TOPICS`].
    pub topic: &'static str,
    /// The partition: always the same for a device, so that its messages keep their order.
    pub partition: i32,
    /// The device's id.
    pub key: Vec<u8>,
    /// The generator's clock when it was made, ms since the epoch: its time in Kafka.
    pub time_ms: i64,
    /// The payload's bytes; empty for a tombstone.
    pub payload: Vec<u8>,
    /// Whether the message has no payload at all.
    pub tombstone: bool,
    /// What it must come to.
    pub expect: Expect,
}

impl Message {
    /// An empty message, to be filled by [`Generator::next`].
    pub fn new() -> Self {
        Self {
            topic: TOPICS[0].0,
            partition: 0,
            key: Vec::new(),
            payload: Vec::new(),
            time_ms: 0,
            tombstone: false,
            expect: Expect::WithoutRows,
        }
    }

    /// The payload; `None` is a tombstone.
    pub fn payload(&self) -> Option<&[u8]> {
        (!self.tombstone).then_some(&self.payload)
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a device stands, what it says of that, and what follows.
#[derive(Debug, Clone, Copy)]
struct Origin {
    /// Where it stands.
    country: &'static str,
    /// Where it says that it stands.
    claim: &'static str,
    /// The zone of its records; none if it is not registered.
    zone: Option<&'static str>,
}

impl Origin {
    const NANNING: Self = Self { country: "CN", claim: "CN", zone: Some("CN") };
    const STUTTGART: Self = Self { country: "DE", claim: "DE", zone: Some("EU") };

    /// What a message must come to, where `claims` says whether it carries the claim.
    fn expect(self, claims: bool) -> Expect {
        let undetermined = |reason: UndeterminedReason| Expect::Quarantined { reason: reason.as_str() };
        match self.zone {
            None => undetermined(UndeterminedReason::UnknownDevice),
            Some(_) if claims && self.claim != self.country => {
                undetermined(UndeterminedReason::ClaimContradictsRegistry)
            }
            Some(zone) => Expect::Stored { zone },
        }
    }
}

/// What a turn of the generator makes. The discriminant is the topic's place in [`TOPICS`], except
/// that events share the topic of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    State,
    Observation,
    Block,
    Window,
    PubSub,
    Calibration,
    Pose,
    Event,
}

impl Kind {
    fn topic(self) -> (&'static str, i32) {
        match self {
            Self::State => TOPICS[0],
            Self::Observation => TOPICS[1],
            Self::Block | Self::Event => TOPICS[2],
            Self::Window => TOPICS[3],
            Self::PubSub => TOPICS[4],
            Self::Calibration => TOPICS[5],
            Self::Pose => TOPICS[6],
        }
    }

    fn flaws(self) -> &'static [Flaw] {
        match self {
            Self::State => flaw::STATE,
            Self::Observation => flaw::OBSERVATION,
            Self::Block => flaw::BLOCK,
            Self::Event => flaw::EVENT,
            Self::Window => flaw::WINDOW,
            Self::PubSub => flaw::PUBSUB,
            Self::Calibration | Self::Pose => flaw::AR,
        }
    }
}

/// Makes messages, one after the other, without end.
///
/// # Memory
/// About 100 kB, whatever the number of messages.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    start_us: i64,
    made: u64,
    /// The kinds of one second in the order in which they come.
    second: Vec<Kind>,
    /// Whose turn it is, for each kind.
    turns: [usize; 8],
    machines: Vec<Machine>,
    devices: Vec<Device>,
    recorders: Vec<Recorder>,
    /// What was wrong with the last message.
    flaw: Option<Flaw>,
}

impl Generator {
    /// A generator for this seed whose clock begins at `start_ms` (ms since the epoch; kept between 1970 and
    /// 2100).
    pub fn new(seed: u64, start_ms: i64) -> Self {
        let mut random = Random::new(seed);
        let start_us = start_ms.clamp(0, 4_102_444_800_000) * 1_000;
        let mut machines = Vec::new();
        let mut devices = Vec::new();
        let mut recorders = Vec::new();
        for (prefix, origin) in [("nn", Origin::NANNING), ("st", Origin::STUTTGART)] {
            for number in 1..=20 {
                let id = format!("{prefix}-cnc-{number:03}");
                let origin = if id == LIAR { Origin { claim: "DE", ..origin } } else { origin };
                if number <= 2 {
                    recorders.push(Recorder::new(machines.len(), &mut random));
                }
                machines.push(Machine::new(id, origin, machines.len(), start_us, &mut random));
            }
            for number in 1..=6 {
                let id = format!("{prefix}-ar-{number:02}");
                devices.push(Device::new(id, origin, devices.len(), &mut random));
            }
        }
        let origin = Origin { zone: None, ..Origin::NANNING };
        machines.push(Machine::new(UNREGISTERED.to_owned(), origin, machines.len(), start_us, &mut random));

        let mut second: Vec<Kind> =
            SECOND.iter().flat_map(|(kind, times)| std::iter::repeat_n(*kind, *times)).collect();
        for end in (1..second.len()).rev() {
            second.swap(end, random.below(end as u32 + 1) as usize);
        }
        Self { random, start_us, made: 0, second, turns: [0; 8], machines, devices, recorders, flaw: None }
    }

    /// The generator's clock, ms since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.now_us() / 1_000
    }

    fn now_us(&self) -> i64 {
        let length = self.second.len() as u64;
        let (seconds, turn) = (self.made / length, self.made % length);
        self.start_us.saturating_add_unsigned(seconds * 1_000_000 + turn * 1_000_000 / length)
    }

    /// Makes the next message. Once the buffers of `out` have grown, nothing is allocated.
    pub fn next(&mut self, out: &mut Message) {
        let now_us = self.now_us();
        let kind = self.second[(self.made % self.second.len() as u64) as usize];
        self.made += 1;
        out.key.clear();
        out.payload.clear();
        out.time_ms = now_us / 1_000;
        out.tombstone = false;
        let flaw = self.random.one_in(100).then(|| self.random.pick(kind.flaws()));
        self.flaw = flaw;
        let place = match kind {
            Kind::State | Kind::Observation | Kind::PubSub | Kind::Window => {
                self.machine_message(out, kind, now_us, flaw)
            }
            Kind::Pose | Kind::Calibration => self.device_message(out, kind, now_us, flaw),
            Kind::Block | Kind::Event => self.recorder_message(out, kind, now_us, flaw),
        };
        let (topic, partitions) = kind.topic();
        out.topic = topic;
        out.partition = (place % partitions.unsigned_abs() as usize) as i32;
        if let Some(flaw) = flaw {
            flaw.spoil(out, &mut self.random);
            out.expect = Expect::Quarantined { reason: flaw.code().as_str() };
        }
    }

    /// Whose turn it is among `count`.
    fn turn(&mut self, kind: Kind, count: usize) -> usize {
        let turn = &mut self.turns[kind as usize];
        *turn = (*turn + 1) % count;
        *turn
    }

    fn machine_message(&mut self, out: &mut Message, kind: Kind, now_us: i64, flaw: Option<Flaw>) -> usize {
        let turn = self.turn(kind, self.machines.len());
        let random = &mut self.random;
        let machine = &mut self.machines[turn];
        machine.advance(now_us, random);
        out.key.extend_from_slice(machine.id.as_bytes());
        out.expect = machine.expect(matches!(kind, Kind::State | Kind::Window));
        match kind {
            Kind::Observation => cnc::observation(&mut out.payload, machine, flaw, random),
            Kind::Window => cnc::window(&mut out.payload, machine, flaw, random),
            Kind::PubSub => {
                // Only a network message with fields has what a flaw needs.
                let form = if flaw.is_some() { PubSub::Delta } else { PubSub::any(random) };
                if matches!(form, PubSub::KeepAlive | PubSub::MetaData) {
                    out.expect = Expect::WithoutRows;
                }
                cnc::pubsub(&mut out.payload, machine, form, flaw, random);
            }
            _ => cnc::state(&mut out.payload, machine, flaw, random),
        }
        machine.index
    }

    fn device_message(&mut self, out: &mut Message, kind: Kind, now_us: i64, flaw: Option<Flaw>) -> usize {
        let turn = self.turn(kind, self.devices.len());
        let device = &mut self.devices[turn];
        out.key.extend_from_slice(device.id.as_bytes());
        out.expect = device.expect(kind == Kind::Calibration);
        if kind == Kind::Pose {
            device.pose(&mut out.payload, now_us, flaw, &mut self.random);
        } else {
            device.calibration(&mut out.payload, now_us, flaw, &mut self.random);
        }
        device.index
    }

    fn recorder_message(&mut self, out: &mut Message, kind: Kind, now_us: i64, flaw: Option<Flaw>) -> usize {
        // Both kinds of a recording take the same turns.
        let turn = (self.made / MESSAGES_PER_SECOND) as usize % self.recorders.len();
        let recorder = &mut self.recorders[turn];
        let machine = &self.machines[recorder.machine];
        out.key.extend_from_slice(machine.id.as_bytes());
        if kind == Kind::Block {
            out.expect = machine.expect(false);
            recorder.block(&mut out.payload, flaw, &mut self.random);
        } else {
            out.expect = Expect::WithoutRows;
            recorder.event(&mut out.payload, now_us * 1_000, machine.line, flaw, &mut self.random);
        }
        machine.index
    }
}

#[cfg(test)]
mod tests;
