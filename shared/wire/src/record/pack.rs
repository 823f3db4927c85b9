//! Numbers as few bytes: what changes each minute is stored packed, as base64 text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use snapback_core::canary::{Counts, Share, Side, Slow};

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
        let (requests, shares, slow) = (counts.requests, [counts.e5, counts.tx, counts.e4], counts.slow);
        self.count(requests);
        self.presence(shares.iter().map(Option::is_some).chain(slow.iter().map(Option::is_some)));
        for share in shares.into_iter().flatten() {
            self.count(share.bad());
            self.beside(share.all(), requests);
        }
        for slow in slow.into_iter().flatten() {
            self.beside(slow.all, requests);
            self.presence(slow.above.iter().map(Option::is_some));
            slow.above.into_iter().flatten().for_each(|above| self.count(above));
        }
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
        let [e5, tx, e4, q50, q90, q99] = self.presence()?;
        let mut share = |is_there: bool| {
            let read = || {
                let (bad, all) = (self.count()?, self.beside(requests)?);
                Share::new(bad, all).map_err(|_| IMPOSSIBLE)
            };
            is_there.then(read).transpose()
        };
        let (e5, tx, e4) = (share(e5)?, share(tx)?, share(e4)?);
        let mut slow = |is_there: bool| {
            let read = || {
                let all = self.beside(requests)?;
                let mut above = [None; 4];
                for (value, is_there) in above.iter_mut().zip(self.presence::<4>()?) {
                    *value = is_there.then(|| self.count()).transpose()?;
                }
                Slow::new(all, above).map_err(|_| IMPOSSIBLE)
            };
            is_there.then(read).transpose()
        };
        Ok(Counts { requests, e5, tx, e4, slow: [slow(q50)?, slow(q90)?, slow(q99)?] })
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

        #[test]
        fn nothing_panics(text in "[A-Za-z0-9+/]{0,80}") {
            if let Ok(mut unpacker) = Unpacker::new(&text) {
                let counts = unpacker.counts();
                prop_assert!(counts.is_ok() || unpacker.at <= unpacker.bytes.len());
            }
        }
    }
}
