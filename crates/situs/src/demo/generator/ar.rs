//! Head-mounted AR devices: where they are, and how their cameras are calibrated.

use super::flaw::Flaw;
use super::random::Random;
use super::text::Text;
use super::{Expect, Origin};

/// The scale of positions and quaternions: nine decimals.
const NANO: f64 = 1e9;

/// A device and where it is. Its wearer walks around a machine and looks about.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: String,
    pub(super) origin: Origin,
    pub(super) index: usize,
    serial: String,
    /// Cosine and sine of the place on the circle.
    place: (f64, f64),
    /// Cosine and sine of half the heading.
    heading: (f64, f64),
    pace: (f64, f64),
    turn: (f64, f64),
    height_um: i64,
    lost: u32,
    sequence: i64,
    calibrations: i64,
    /// Focal length in pixels, as the last calibration found it.
    focal: f64,
}

/// Turns `point` by `by`; both are on the unit circle. Free of trigonometry, so that all machines give the
/// same bytes.
fn turned(point: (f64, f64), by: (f64, f64)) -> (f64, f64) {
    let (x, y) = (point.0 * by.0 - point.1 * by.1, point.0 * by.1 + point.1 * by.0);
    // Rounding would let the point drift off the circle.
    let length = (x * x + y * y).sqrt();
    (x / length, y / length)
}

/// The point on the unit circle at a small angle.
fn at(angle: f64) -> (f64, f64) {
    turned((1.0, angle), (1.0, 0.0))
}

impl Device {
    pub(super) fn new(id: String, origin: Origin, index: usize, random: &mut Random) -> Self {
        let pace = random.within(10..60) as f64 / 1_000.0;
        Self {
            serial: format!("HMD-{:06}", random.below(1_000_000)),
            id,
            origin,
            index,
            place: at(random.within(0..800) as f64 / 1_000.0),
            heading: at(random.within(0..800) as f64 / 1_000.0),
            pace: at(pace),
            turn: at(pace / 2.0),
            height_um: random.within(1_550_000..1_780_000),
            lost: 0,
            sequence: 0,
            calibrations: 0,
            focal: 349.756_002_305_040_9 + random.within(0..12_000_000) as f64 / 1_000_003.0,
        }
    }

    /// What a message of this device must come to.
    pub(super) fn expect(&self, claims: bool) -> Expect {
        self.origin.expect(claims)
    }

    /// One pose: about 450 bytes.
    pub(super) fn pose(&mut self, out: &mut Vec<u8>, now_us: i64, flaw: Option<Flaw>, random: &mut Random) {
        let before = self.place;
        self.place = turned(self.place, self.pace);
        self.heading = turned(self.heading, self.turn);
        self.sequence += 1;
        self.height_um = (self.height_um + random.noise(1_500)).clamp(1_400_000, 1_900_000);
        self.lost = if self.lost > 0 { self.lost - 1 } else { u32::from(random.one_in(400)) * 12 };
        let nano = |value: f64| (value * NANO) as i64;
        let (x, y) = (self.place.0 * 1.4, self.place.1 * 1.4);
        let ns = (now_us - i64::from(random.below(9_000))) * 1_000 + random.within(0..1_000);

        let mut text = Text(out);
        let t = &mut text;
        t.raw(r#"{"device":""#).raw(&self.id).raw(r#"","time":"#);
        match flaw {
            Some(Flaw::BadTime) => t.raw(r#""soon""#),
            _ => t.int(ns),
        };
        t.raw(r#","session":"s-"#).int(self.sequence / 9_000).raw("-").int(self.index as i64);
        match flaw {
            Some(Flaw::OutOfRange) => t.raw(r#"","sequence":9223372036854775808"#),
            _ => t.raw(r#"","sequence":"#).int(self.sequence),
        };
        t.raw(r#","referenceFrame":"hall","frame":"hmd","position":"#);
        match flaw {
            Some(Flaw::WrongType) => t.raw(r#""unknown""#),
            _ => t.list(&[nano(x), nano(y), self.height_um * 1_000 + random.within(0..1_000)], 9),
        };
        if flaw != Some(Flaw::MissingField) {
            t.raw(r#","orientation":"#);
            t.list(&[0, 0, nano(self.heading.1), nano(self.heading.0)], 9);
        }
        // Five poses a second.
        let (vx, vy) = ((self.place.0 - before.0) * 7.0, (self.place.1 - before.1) * 7.0);
        t.raw(r#","linearVelocity":"#).list(&[nano(vx) / 1_000, nano(vy) / 1_000, random.noise(9_000)], 6);
        t.raw(r#","angularVelocity":"#)
            .list(&[random.noise(9_000), random.noise(9_000), nano(self.turn.1) / 100], 6);
        t.raw(r#","tracking":"#);
        match self.lost {
            0 => t.raw(r#""tracked","confidence":"#).fixed(random.within(900..1_000), 3),
            1..4 => t.raw(r#""limited","confidence":"#).fixed(random.within(300..600), 3),
            _ => t.raw(r#""lost","confidence":"#).fixed(random.within(0..100), 3),
        };
        t.raw(r#","calibrationId":""#).raw(&self.id).raw("-c").int(self.calibrations).raw(r#""}"#);
    }

    /// One calibration: about 900 bytes, with all 17 digits of its doubles.
    pub(super) fn calibration(
        &mut self,
        out: &mut Vec<u8>,
        now_us: i64,
        flaw: Option<Flaw>,
        random: &mut Random,
    ) {
        self.calibrations += 1;
        self.focal += random.noise(1_000) as f64 / 70_003.0;
        let (sensor, shift) =
            if self.calibrations % 2 == 0 { ("cam0", 0.0) } else { ("cam1", 0.110_074_137_800_478) };
        let error = 0.05 + random.within(0..60_000) as f64 / 100_019.0;
        let mut small = |scale: f64| random.noise(100_000) as f64 / 100_003.0 * scale;
        let (a, b, c) = (small(0.01), small(0.01), small(0.3));
        let distortion = [small(0.3), small(0.08), small(0.001), small(0.001)];
        let along = shift + small(0.001);
        let (px, py) = (small(0.02), small(0.02));
        let w = (1.0 - a * a - b * b - c * c).sqrt();
        let ns = now_us * 1_000 + random.within(0..1_000);

        let mut text = Text(out);
        let t = &mut text;
        t.raw(r#"{"device":""#).raw(&self.id).raw(r#"","country":""#).raw(self.origin.claim);
        match flaw {
            Some(Flaw::BadTime) => t.raw(r#"","timestamp":"after lunch"#),
            _ => t.raw(r#"","timestamp":""#).time(ns, 9, 0),
        };
        t.raw(r#"","calibrationId":""#).raw(&self.id).raw("-c").int(self.calibrations);
        t.raw(r#"","sensor":""#).raw(sensor).raw(r#"","serialNumber":""#).raw(&self.serial);
        t.raw(r#"","method":"aprilgrid","parentFrame":"imu0""#);
        if flaw != Some(Flaw::MissingField) {
            t.raw(r#","childFrame":""#).raw(sensor).raw("\"");
        }
        t.raw(r#","translation":"#);
        match flaw {
            Some(Flaw::WrongType) => t.raw("true"),
            _ => t.raw("[").double(px).raw(",").double(along).raw(",").double(py).raw("]"),
        };
        t.raw(r#","quaternion":["#).double(a).raw(",").double(b).raw(",").double(c).raw(",").double(w);
        t.raw(r#"],"cameraModel":"kb4","width":"#);
        t.raw(if flaw == Some(Flaw::OutOfRange) { "4294967296" } else { "752" });
        t.raw(r#","height":480,"intrinsics":{"fx":"#).double(self.focal);
        t.raw(r#","fy":"#)
            .double(self.focal * 0.999_3)
            .raw(r#","cx":"#)
            .double(365.894_407_625_901_5 + px * 90.0);
        t.raw(r#","cy":"#)
            .double(249.329_955_657_087_04 + py * 90.0)
            .raw(r#"},"distortionModel":"kb4","distortion":"#);
        if self.index.is_multiple_of(4) {
            // One coefficient may come without a list.
            t.double(distortion[0]);
        } else {
            let [k1, k2, k3, k4] = distortion;
            t.raw("[").double(k1).raw(",").double(k2).raw(",").double(k3).raw(",").double(k4).raw("]");
        }
        t.raw(r#","reprojectionError":"#).double(error);
        t.raw(r#","timeOffsetNs":"#).int(random.noise(4_000_000));
        t.raw(if error < 0.5 { r#","valid":true}"# } else { r#","valid":false}"# });
    }
}
