//! The receipts of a partition as a whole: ranges without gap or overlap up to the settled offset, each in
//! the chain of the one before.

use super::ledger::{Lane, Ledger};
use super::report::{Kind, Report};

/// Checks every partition, and notes the gaps.
pub(super) fn check(ledger: &mut Ledger, report: &mut Report) {
    let flushes = std::mem::take(&mut ledger.flushes);
    for lane in &mut ledger.lanes {
        check_lane(lane, &flushes, report);
    }
    ledger.flushes = flushes;
}

fn check_lane(lane: &mut Lane, flushes: &[String], report: &mut Report) {
    let mut gaps = Vec::new();
    let flush = |at: u32| flushes.get(at as usize).map_or("", String::as_str);
    report.count(Kind::Ranges, "partitions", 1);
    let mut before: Option<&super::ledger::Entry> = None;
    let mut topic_id: Option<&str> = None;
    for receipt in &lane.receipts {
        let place = |what: String| lane.finding(receipt.start, what).receipt(flush(receipt.flush));
        // Receipts of before, or of a broker that tells no ids, name none.
        if let Some(named) = receipt.topic_id.as_deref() {
            if let Some(known) = topic_id.filter(|known| *known != named) {
                let what = format!(
                    "its offsets are of the topic with id {named}, those before it of the one with id {known}"
                );
                report.violation(Kind::Chain, place(what));
            }
            topic_id = Some(named);
        }
        if receipt.end <= receipt.start {
            report.violation(
                Kind::Ranges,
                place(format!("it covers nothing: {}..{}", receipt.start, receipt.end)),
            );
            continue;
        }
        report.count(Kind::Ranges, "offsets", receipt.end.abs_diff(receipt.start));
        let Some(last) = before else {
            if receipt.previous.is_some() {
                let what = "it is the first there is, but it continues another".to_owned();
                report.violation(Kind::Chain, place(what));
            }
            before = Some(receipt);
            continue;
        };
        let continues = receipt.previous == last.hash;
        if receipt.start > last.end {
            let chained =
                if continues { "" } else { ", and the receipt after them continues one that is not there" };
            let what = format!("no receipt covers offsets {}..{}{chained}", last.end, receipt.start);
            report.violation(Kind::Ranges, lane.finding(last.end, what));
            gaps.push((last.end, receipt.start));
        } else if receipt.start < last.end {
            let what = format!(
                "it covers {}..{} again, from the receipt of flush {}",
                receipt.start,
                receipt.end.min(last.end),
                flush(last.flush)
            );
            report.violation(Kind::Ranges, place(what));
        } else if receipt.hash.is_none() && last.hash.is_some() {
            report.violation(Kind::Chain, place("it has no hash, but the receipt before it has".to_owned()));
        } else if !continues {
            report.violation(Kind::Chain, place("it does not continue the receipt before it".to_owned()));
        } else if receipt.hash.is_some() && last.hash.is_none() {
            report.note(Kind::Chain, place(format!("chain begins at offset {}", receipt.start)));
        } else if receipt.hash.is_some() {
            report.count(Kind::Chain, "links", 1);
        }
        if receipt.end > last.end {
            before = Some(receipt);
        }
    }
    let last = before.map(|receipt| receipt.end);
    match (lane.settled, last) {
        (Some(settled), Some(end)) if end < settled => {
            let what = format!("no receipt covers offsets {end}..{settled}, up to the settled offset");
            report.violation(Kind::Ranges, lane.finding(end, what));
            gaps.push((end, settled));
        }
        (Some(settled), Some(end)) if end > settled => {
            let what = format!("receipts reach to {end}, but the partition is settled at {settled}");
            report.violation(Kind::Ranges, lane.finding(settled, what));
        }
        (Some(settled), None) => {
            let what = format!("the partition is settled at {settled}, but there is no receipt of it");
            report.violation(Kind::Ranges, lane.finding(settled, what));
            gaps.push((i64::MIN, settled));
        }
        (None, Some(end)) => {
            let what = format!("receipts reach to {end}, but no offset of the partition is settled");
            report.violation(Kind::Ranges, lane.finding(end, what));
        }
        _ => {}
    }
    lane.gaps = gaps;
}
