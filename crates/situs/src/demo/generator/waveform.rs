//! A recorder of drive signals at 500 Hz.

use super::flaw::Flaw;
use super::random::Random;
use super::text::Text;

/// Numbers in a row beside the counter.
pub(super) const SIGNALS: usize = 60;
/// Rows of a block: about 30 kB.
const ROWS: usize = 50;
/// Cycles between the rows of two blocks of different bursts.
const PAUSE: i64 = 45_000;
/// Blocks that follow each other without a gap.
const BURST: u32 = 20;

/// The recorder at one machine.
#[derive(Debug)]
pub(super) struct Recorder {
    /// The machine's place among all machines.
    pub(super) machine: usize,
    counter: i64,
    left: u32,
    signals: Vec<Signal>,
}

/// An oscillation.
#[derive(Debug)]
struct Signal {
    /// A full turn is 2^32.
    phase: u32,
    step: u32,
    /// In 1/1,000,000.
    amplitude: i64,
    offset: i64,
    form: Form,
}

/// How a signal is written; real recordings mix all of these in one row.
#[derive(Debug, Clone, Copy)]
enum Form {
    Decimals,
    /// A drive that stands still: `0.0`, `-0.0`.
    Zero,
    /// Small values with a capital E.
    Exponent,
}

impl Recorder {
    pub(super) fn new(machine: usize, random: &mut Random) -> Self {
        let signals = (0..SIGNALS)
            .map(|index| Signal {
                phase: random.below(u32::MAX),
                step: random.below(90_000_000) + 200_000,
                amplitude: 10_i64.pow(3 + random.below(7)) * random.within(1..10),
                offset: random.noise(40_000) * 1_000_000,
                form: match index % 10 {
                    2 | 7 => Form::Zero,
                    5 => Form::Exponent,
                    _ => Form::Decimals,
                },
            })
            .collect();
        Self { machine, counter: random.within(1_000_000..9_000_000), left: BURST, signals }
    }

    /// One block of samples; its rows follow those of the block before, but after a burst there is a gap.
    pub(super) fn block(&mut self, out: &mut Vec<u8>, flaw: Option<Flaw>, random: &mut Random) {
        if self.left == 0 {
            self.left = BURST;
            self.counter += PAUSE;
        }
        self.left -= 1;
        let ragged = (flaw == Some(Flaw::RaggedBlock)).then(|| random.within(1..ROWS as u32) as usize);
        let mut text = Text(out);
        text.raw("{\"HFData\":[");
        for row in 0..ROWS {
            self.counter += 1;
            text.raw(if row == 0 { "[" } else { ",[" }).int(self.counter);
            let signals = if ragged == Some(row) { SIGNALS - 3 } else { SIGNALS };
            for signal in &mut self.signals[..signals] {
                text.raw(",");
                signal.write(&mut text, random);
            }
            text.raw("]");
        }
        text.raw("]}");
    }

    /// One of the small events beside the blocks.
    pub(super) fn event(
        &mut self,
        out: &mut Vec<u8>,
        ns: i64,
        line: i64,
        flaw: Option<Flaw>,
        random: &mut Random,
    ) {
        let mut text = Text(out);
        let t = &mut text;
        if flaw == Some(Flaw::NoRows) {
            t.raw(r#"{"HFUnknown":{"HFProbeCounter":"#).int(self.counter).raw("}}");
            return;
        }
        match random.below(4) {
            0 => {
                t.raw(r#"{"HFTimestamp":{"Time":""#).time(ns, 3, 0);
                t.raw(r#"","HFProbeCounter":"#).int(self.counter).raw("}}");
            }
            1 => {
                t.raw(r#"{"HFCallEvent":{"HFProbeCounter":"#).int(self.counter);
                t.raw(r#","Channel":1,"SeekOffset":"#)
                    .int(line)
                    .raw(r#","CallStackLevel":2,"Path":"/_CUTTING"}}"#);
            }
            2 => {
                t.raw(r#"{"LFData":[{"HFProbeCounter":"#).int(self.counter).raw(r#","timestamp":""#);
                t.time(ns, 6, 0)
                    .raw(r#"","address":"/Channel/State/actTNumber","value_type":"UInt","value":""#);
                t.int(random.within(1..30)).raw(r#""}]}"#);
            }
            _ => {
                t.raw(r#"{"HFBlockEvent":{"HFProbeCounter":"#).int(self.counter);
                t.raw(r#","Channel":1,"SeekOffset":"#)
                    .int(line)
                    .raw(r#","SelectedTool":6,"ActiveTool":6,"GCode":"N"#);
                t.int(line).raw(r#" G1 X12.5 F2400","IpoGC":"G1","ipoReadError":null,"laBuf":1}}"#);
            }
        }
    }
}

impl Signal {
    fn write(&mut self, text: &mut Text<'_>, random: &mut Random) {
        self.phase = self.phase.wrapping_add(self.step);
        match self.form {
            Form::Zero => {
                text.raw(if self.phase & 0x100 == 0 { "0.0" } else { "-0.0" });
            }
            Form::Exponent => {
                let sign = if self.phase >> 31 == 0 { "" } else { "-" };
                text.raw(sign).fixed(random.within(100..1_000), 2).raw("E-4");
            }
            Form::Decimals => {
                // A parabola per half turn is close enough to a sine.
                let x = i64::from(self.phase.cast_signed()) >> 11;
                let sine = (4 * x * ((1 << 20) - x.abs())) >> 20;
                let value = ((i128::from(self.amplitude) * i128::from(sine)) >> 20) as i64;
                text.fixed(self.offset + value + random.noise(90), 6);
            }
        }
    }
}
