//! Numbers as few bytes: what changes each minute is stored packed, as base64 text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use snapback_judge::Share;
use snapback_judge::detector::{Counts, Latencies, Side, Tail};

/// Items of one list; more is no list of ours.
const MAX_LIST: u64 = 4_096;

/// Bytes that are written one value after the other.
#[derive(Default)]
pub(super) struct Packer(Vec<u8>);

/// Why packed bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packed numbers of this version of Snapback: {0}")]
pub(super) struct Unpackable(pub(super) &'static str);

const IMPOSSIBLE: Unpackable = Unpackable("counts that cannot be");

type Result<T> = std::result::Result<T, Unpackable>;

impl Packer {
    /// Seven bits a byte, the last one without the high bit (LEB128).
    pub(super) fn count(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or(0);
            value >>= 7;
            if value == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }

    /// Small numbers of both signs are short (zigzag).
    pub(super) fn integer(&mut self, value: i64) {
        let sign = u64::from(value < 0);
        let size = if value < 0 { !value } else { value };
        self.count((u64::try_from(size).unwrap_or(0) << 1) | sign);
    }

    pub(super) fn number(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub(super) fn optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub(super) fn list<T>(&mut self, values: &[T], mut put: impl FnMut(&mut Self, &T)) {
        self.count(u64::try_from(values.len()).unwrap_or(u64::MAX));
        values.iter().for_each(|value| put(self, value));
    }

    pub(super) fn side(&mut self, side: Side) {
        self.flag(matches!(side, Side::Canary));
    }

    /// Which of a few values are there, the first one in the lowest bit.
    fn presence(&mut self, present: impl DoubleEndedIterator<Item = bool>) {
        self.count(present.rev().fold(0, |bits, is_there| bits << 1 | u64::from(is_there)));
    }

    /// Nearly always as many as the requests, so the difference is stored.
    fn beside(&mut self, all: u64, requests: u64) {
        self.integer(all.wrapping_sub(requests).cast_signed());
    }

    pub(super) fn counts(&mut self, counts: &Counts) {
        let (requests, shares) = (counts.requests, [counts.e5, counts.tx, counts.e4]);
        self.count(requests);
        self.presence(shares.iter().map(Option::is_some).chain([counts.latencies.is_some()]));
        for share in shares.into_iter().flatten() {
            self.count(share.bad);
            self.beside(share.all, requests);
        }
        if let Some(latencies) = counts.latencies {
            self.beside(latencies.all, requests);
            latencies.body.into_iter().for_each(|above| self.count(above));
            for tail in [latencies.q90, latencies.q99] {
                self.presence(tail.iter().map(Option::is_some));
                tail.into_iter().flatten().for_each(|above| self.count(above));
            }
        }
    }

    pub(super) fn share(&mut self, share: Share) {
        self.count(share.bad);
        self.count(share.all);
    }

    pub(super) fn numbers<const N: usize>(&mut self, values: [f64; N]) {
        values.into_iter().for_each(|value| self.number(value));
    }

    pub(super) fn text(self) -> String {
        STANDARD_NO_PAD.encode(self.0)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Packed bytes, read in the order in which they were written.
pub(super) struct Unpacker {
    bytes: Vec<u8>,
    at: usize,
}

impl Unpacker {
    pub(super) fn new(text: &str) -> Result<Self> {
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| Unpackable("not base64"))?;
        Ok(Self { bytes, at: 0 })
    }

    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let end = self.at.saturating_add(count);
        let taken = self.bytes.get(self.at..end).ok_or(Unpackable("cut off"))?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        self.take(1)?.first().copied().ok_or(Unpackable("cut off"))
    }

    pub(super) fn count(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unpackable("a number that is too long"))
    }

    pub(super) fn integer(&mut self) -> Result<i64> {
        let packed = self.count()?;
        let size = i64::try_from(packed >> 1).map_err(|_| Unpackable("a number that is too large"))?;
        Ok(if packed & 1 == 1 { !size } else { size })
    }

    /// A finite number.
    pub(super) fn number(&mut self) -> Result<f64> {
        let bytes: [u8; 8] = self.take(8)?.try_into().map_err(|_| Unpackable("cut off"))?;
        let value = f64::from_le_bytes(bytes);
        if value.is_finite() { Ok(value) } else { Err(Unpackable("not a number")) }
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unpackable("neither yes nor no")),
        }
    }

    pub(super) fn optional<T>(&mut self, get: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.flag()? { get(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn list<T>(&mut self, mut get: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.count()?;
        if count > MAX_LIST {
            return Err(Unpackable("a list that is too long"));
        }
        (0..count).map(|_| get(self)).collect()
    }

    pub(super) fn side(&mut self) -> Result<Side> {
        Ok(if self.flag()? { Side::Canary } else { Side::Baseline })
    }

    fn presence<const N: usize>(&mut self) -> Result<[bool; N]> {
        let mut bits = self.count()?;
        let mut present = [false; N];
        for is_there in &mut present {
            *is_there = bits & 1 == 1;
            bits >>= 1;
        }
        if bits == 0 { Ok(present) } else { Err(Unpackable("a value that is not known")) }
    }

    fn beside(&mut self, requests: u64) -> Result<u64> {
        Ok(requests.wrapping_add(self.integer()?.cast_unsigned()))
    }

    pub(super) fn counts(&mut self) -> Result<Counts> {
        let requests = self.count()?;
        let [e5, tx, e4, has_latencies] = self.presence()?;
        let mut share = |is_there: bool| {
            let read = || {
                let (bad, all) = (self.count()?, self.beside(requests)?);
                Share::new(bad, all).map_err(|_| IMPOSSIBLE)
            };
            is_there.then(read).transpose()
        };
        let (e5, tx, e4) = (share(e5)?, share(tx)?, share(e4)?);
        let latencies = has_latencies.then(|| self.latencies(requests)).transpose()?;
        Ok(Counts { requests, e5, tx, e4, latencies })
    }

    fn latencies(&mut self, requests: u64) -> Result<Latencies> {
        let all = self.beside(requests)?;
        let mut body = [0; 7];
        for above in &mut body {
            *above = self.count()?;
        }
        let mut tail = || -> Result<Tail> {
            let mut tail = [None; 4];
            for (value, is_there) in tail.iter_mut().zip(self.presence::<4>()?) {
                *value = is_there.then(|| self.count()).transpose()?;
            }
            Ok(tail)
        };
        let (q90, q99) = (tail()?, tail()?);
        Latencies::new(all, body, q90, q99).map_err(|_| IMPOSSIBLE)
    }

    /// Bad events among all; more bad ones than all are only of traffic, where more may come than is due.
    pub(super) fn share(&mut self) -> Result<Share> {
        Ok(Share { bad: self.count()?, all: self.count()? })
    }

    pub(super) fn numbers<const N: usize>(&mut self) -> Result<[f64; N]> {
        let mut values = [0.0; N];
        for value in &mut values {
            *value = self.number()?;
        }
        Ok(values)
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(Unpackable("something behind the end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_survive(count in any::<u64>(), integer in any::<i64>(), number in -1e300..1e300) {
            let mut packer = Packer::default();
            packer.count(count);
            packer.integer(integer);
            packer.number(number);
            let mut unpacker = Unpacker::new(&packer.text()).unwrap();
            prop_assert_eq!(unpacker.count(), Ok(count));
            prop_assert_eq!(unpacker.integer(), Ok(integer));
            prop_assert_eq!(unpacker.number().map(f64::to_bits), Ok(number.to_bits()));
            prop_assert_eq!(unpacker.end(), Ok(()));
        }

        /// More may come than is due, so a share may have more bad events than all.
        #[test]
        fn shares_survive(bad in any::<u64>(), all in any::<u64>(), numbers in prop::array::uniform7(-1e300..1e300)) {
            let share = Share { bad, all };
            let mut packer = Packer::default();
            packer.share(share);
            packer.numbers(numbers);
            let mut unpacker = Unpacker::new(&packer.text()).unwrap();
            prop_assert_eq!(unpacker.share(), Ok(share));
            prop_assert_eq!(unpacker.numbers(), Ok(numbers));
            prop_assert_eq!(unpacker.numbers::<1>(), Err(Unpackable("cut off")));
        }

        #[test]
        fn nothing_panics(text in "[A-Za-z0-9+/]{0,80}") {
            if let Ok(mut unpacker) = Unpacker::new(&text) {
                let counts = unpacker.counts();
                prop_assert!(counts.is_ok() || unpacker.at <= unpacker.bytes.len());
                let _ = (unpacker.share(), unpacker.numbers::<3>(), unpacker.list(Unpacker::counts));
            }
        }
    }
}
