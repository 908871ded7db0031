//! A machining centre that loads a part, cuts it operation by operation, and unloads it.
//! All of it in whole numbers, so that a seed gives the same bytes everywhere.

use super::random::Random;
use super::{Expect, Origin};

const SECOND_US: i64 = 1_000_000;

/// One step of a part's program.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) tool: &'static str,
    pub(super) tool_serial: &'static str,
    /// Spindle speed in 1/10 rpm.
    pub(super) speed: i64,
    /// Path feed in µm/s.
    pub(super) feed: i64,
    /// Depth of cut in µm.
    pub(super) depth: i64,
    /// Spindle load in 1/10 %.
    pub(super) load: i64,
    /// Duration in s.
    seconds: std::ops::Range<u32>,
}

const fn operation(
    name: &'static str,
    (tool, tool_serial): (&'static str, &'static str),
    (speed, feed, depth, load): (i64, i64, i64, i64),
    seconds: std::ops::Range<u32>,
) -> Operation {
    Operation { name, tool, tool_serial, speed, feed, depth, load, seconds }
}

static OPERATIONS: [Operation; 5] = [
    operation("roughing", ("T12", "EM-20-0417"), (64_000, 38_000, 4_000, 620), 40..90),
    operation("semi-finishing", ("T7", "EM-12-1102"), (82_000, 31_000, 1_500, 410), 25..60),
    operation("finishing", ("T3", "BN-08-0233"), (145_000, 26_000, 200, 190), 30..80),
    operation("drilling", ("T21", "DR-68-0940"), (38_000, 7_500, 24_000, 350), 12..30),
    operation("tapping", ("T24", "TP-M8-0051"), (9_000, 18_700, 16_000, 270), 8..20),
];

static PROGRAMS: [&str; 6] = ["O1042", "O1043", "O2210", "GEHAEUSE_V7", "FLANSCH_120", "SPINDLE_CAP_B"];
static OPERATORS_CN: [&str; 4] = ["Li Wei", "王芳", "Chen Jie", "黄丽华"];
static OPERATORS_DE: [&str; 4] = ["A. Müller", "J. Schäfer", "K. Weiß", "Elif Yilmaz"];
static ALARMS: [&str; 4] = ["700012", "25050", "10631", "2000"];

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A person changes the part.
    Loading,
    /// The tool for the next operation is brought.
    ToolChange,
    /// Cutting.
    Cutting,
    /// The feed is held; the spindle turns.
    FeedHold,
    /// Stopped by an alarm.
    Alarm,
}

impl Phase {
    /// MTConnect EXECUTION.
    pub(super) fn execution(self) -> &'static str {
        match self {
            Self::Loading => "READY",
            Self::ToolChange | Self::Cutting => "ACTIVE",
            Self::FeedHold => "FEED_HOLD",
            Self::Alarm => "STOPPED",
        }
    }
}

/// A machine and its state.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: String,
    pub(super) serial: String,
    pub(super) origin: Origin,
    /// Its place in its plant, which decides its habits and its partitions.
    pub(super) index: usize,
    /// How the clock of its control is set, in minutes east of Greenwich.
    pub(super) offset_minutes: i64,
    /// How far its clock is off.
    skew_us: i64,
    now_us: i64,
    pub(super) phase: Phase,
    phase_end_us: i64,
    operation: usize,
    program: usize,
    operator: usize,
    alarm: usize,
    /// Spindle speed in 1/10 rpm.
    pub(super) speed: i64,
    /// Spindle load in 1/10 %.
    pub(super) load: i64,
    /// Spindle temperature in 1/1000 °C.
    pub(super) temperature: i64,
    /// Way along the tool path in µm.
    path: i64,
    /// Path feed in µm/s.
    pub(super) feed: i64,
    pub(super) feed_override: i64,
    pub(super) part_count: i64,
    pub(super) line: i64,
    /// Numbers observations and network messages.
    pub(super) sequence: i64,
    /// Numbers process windows.
    pub(super) windows: i64,
}

impl Machine {
    pub(super) fn new(id: String, origin: Origin, index: usize, start_us: i64, random: &mut Random) -> Self {
        let offset_minutes = match origin {
            _ if index.is_multiple_of(3) => 0,
            Origin { country: "CN", .. } => 480,
            _ => 60,
        };
        let mut machine = Self {
            serial: format!("SN-{}-{:04}", 2017 + index % 8, 1_000 + random.below(9_000)),
            id,
            origin,
            index,
            offset_minutes,
            skew_us: random.noise(400_000),
            now_us: start_us,
            phase: Phase::Loading,
            phase_end_us: start_us,
            operation: 0,
            program: random.below(PROGRAMS.len() as u32) as usize,
            operator: random.below(4) as usize,
            alarm: 0,
            speed: 0,
            load: 0,
            temperature: random.within(24_000..31_000),
            path: 0,
            feed: 0,
            feed_override: 100,
            part_count: random.within(0..400),
            line: 0,
            sequence: random.within(0..100_000),
            windows: 0,
        };
        // Not all at the same step.
        machine.operation = random.below(OPERATIONS.len() as u32) as usize;
        machine.enter(if random.one_in(4) { Phase::Loading } else { Phase::Cutting }, random);
        machine.path = random.within(0..50_000_000);
        machine
    }

    /// Lets the time pass until `now_us`.
    pub(super) fn advance(&mut self, now_us: i64, random: &mut Random) {
        let passed_us = now_us - self.now_us;
        self.now_us = now_us;
        if now_us >= self.phase_end_us {
            self.next_phase(random);
        }
        let operation = self.operation();
        let (speed, feed, load) = match self.phase {
            Phase::Cutting => (operation.speed, operation.feed * self.feed_override / 100, operation.load),
            Phase::FeedHold => (operation.speed, 0, 25),
            Phase::Loading | Phase::ToolChange | Phase::Alarm => (0, 0, 0),
        };
        // 5,000 rpm per second up and down.
        let ramp = passed_us / 20;
        self.speed += (speed - self.speed).clamp(-ramp, ramp);
        self.feed += (feed - self.feed) / 2;
        self.path += self.feed * passed_us / SECOND_US;
        let accelerating = i64::from(self.speed < speed) * 300;
        self.load = if load == 0 { 0 } else { (load + accelerating + random.noise(35)).max(0) };
        // The spindle warms and cools with a time constant of 200 s.
        let goal = 24_000 + self.speed / 10 + self.load * 12;
        self.temperature += (goal - self.temperature) * passed_us / (200 * SECOND_US) + random.noise(12);
        if self.phase == Phase::Cutting {
            self.line = 10 + self.path / 20_000 % 4_000 * 10;
        }
    }

    fn next_phase(&mut self, random: &mut Random) {
        let next = match self.phase {
            Phase::Loading => {
                self.operation = 0;
                self.path = 0;
                if random.one_in(12) {
                    self.program = random.below(PROGRAMS.len() as u32) as usize;
                    self.operator = random.below(4) as usize;
                }
                Phase::ToolChange
            }
            Phase::ToolChange | Phase::FeedHold | Phase::Alarm => Phase::Cutting,
            Phase::Cutting if random.one_in(15) => Phase::FeedHold,
            Phase::Cutting if random.one_in(60) => {
                self.alarm = random.below(ALARMS.len() as u32) as usize;
                Phase::Alarm
            }
            Phase::Cutting if self.operation + 1 == OPERATIONS.len() => {
                self.part_count += 1;
                Phase::Loading
            }
            Phase::Cutting => {
                self.operation += 1;
                self.feed_override = random.pick(&[100, 100, 100, 90, 80, 110]);
                Phase::ToolChange
            }
        };
        self.enter(next, random);
    }

    fn enter(&mut self, phase: Phase, random: &mut Random) {
        let seconds = match phase {
            Phase::Loading => 20..60,
            Phase::ToolChange => 3..7,
            Phase::Cutting => self.operation().seconds.clone(),
            Phase::FeedHold => 2..20,
            Phase::Alarm => 30..180,
        };
        self.phase = phase;
        self.phase_end_us = self.now_us + random.within(seconds) * SECOND_US;
    }

    /// The time that the machine writes into a message now, ns since the epoch: it samples some milliseconds
    /// before it sends, and its clock is a little off.
    pub(super) fn sampled_ns(&self, up_to_us: u32, random: &mut Random) -> i64 {
        (self.now_us + self.skew_us - i64::from(random.below(up_to_us))) * 1_000 + random.within(0..10) * 100
    }

    /// The current or next operation.
    pub(super) fn operation(&self) -> &'static Operation {
        &OPERATIONS[self.operation]
    }

    pub(super) fn program(&self) -> &'static str {
        PROGRAMS[self.program]
    }

    pub(super) fn operator(&self) -> &'static str {
        if self.origin.country == "CN" { OPERATORS_CN[self.operator] } else { OPERATORS_DE[self.operator] }
    }

    pub(super) fn alarm(&self) -> Option<&'static str> {
        (self.phase == Phase::Alarm).then(|| ALARMS[self.alarm])
    }

    /// What a person has to do, in the words of OPC 40501-1.
    pub(super) fn intervention(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Loading => Some("PartLoad"),
            Phase::Alarm => Some("ManualActivity"),
            Phase::ToolChange | Phase::Cutting | Phase::FeedHold => None,
        }
    }

    /// X, Y and Z in µm: lines of 120 mm, 5 mm apart, 2 mm deeper after each plane of 20.
    pub(super) fn position(&self) -> [i64; 3] {
        const LINE: i64 = 120_000;
        let lines = self.path / LINE;
        let along = self.path % LINE;
        let x = if lines % 2 == 0 { along } else { LINE - along };
        [x - 60_000, lines % 20 * 5_000 - 50_000, 150_000 - lines / 20 % 12 * 2_000]
    }

    /// Load of X, Y and Z in 1/10 %.
    pub(super) fn axis_loads(&self, random: &mut Random) -> [i64; 3] {
        let moving = self.feed / 400;
        [moving + random.within(5..40), random.within(5..30), 120 + random.within(0..25)]
    }

    /// Electrical power in 1/10 W.
    pub(super) fn power(&self, random: &mut Random) -> i64 {
        18_500 + self.speed * self.load / 500 + self.feed / 10 + random.within(0..900)
    }

    /// What a message of this machine must come to, where `claims` says whether it carries the
    /// country that the machine claims.
    pub(super) fn expect(&self, claims: bool) -> Expect {
        self.origin.expect(claims)
    }
}
