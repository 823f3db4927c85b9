//! Sizes of what is deployed.

use std::path::Path;

use serde::Serialize;

use super::error::Failure;

/// Bytes of a function; `None` what is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// The binary.
    pub binary: Option<u64>,
    /// The package that is uploaded.
    pub zip: Option<u64>,
}

impl Size {
    /// Of what `cargo lambda build` left of `function` in `folder`: `bootstrap`, or `bootstrap.zip` with it in it.
    ///
    /// # Errors
    /// When a package cannot be read.
    pub fn of(folder: &Path, function: &str) -> Result<Self, Failure> {
        let (binary, zip) = (folder.join(function).join("bootstrap"), folder.join(function).join("bootstrap.zip"));
        let mut size = Self::default();
        if zip.is_file() {
            let bytes = std::fs::read(&zip)?;
            size.zip = u64::try_from(bytes.len()).ok();
            let unpacked = unpacked(&bytes).ok_or_else(|| format!("{} is no zip with one file", zip.display()))?;
            size.binary = Some(unpacked);
        }
        if let Ok(found) = std::fs::metadata(&binary) {
            size.binary = Some(found.len());
        }
        Ok(size)
    }
}

/// Of 10^6 bytes.
#[must_use]
pub fn megabytes(bytes: u64) -> Option<f64> {
    u32::try_from(bytes).ok().map(|bytes| f64::from(bytes) / 1e6)
}

/// Size of the only file in a zip, by its central directory.
fn unpacked(zip: &[u8]) -> Option<u64> {
    const END: &[u8] = b"PK\x05\x06";
    const ENTRY: &[u8] = b"PK\x01\x02";
    let end = zip.windows(END.len()).rposition(|window| window == END)?;
    let entries = u16::from_le_bytes(zip.get(end + 10..end + 12)?.try_into().ok()?);
    let directory = usize::try_from(u32::from_le_bytes(zip.get(end + 16..end + 20)?.try_into().ok()?)).ok()?;
    let entry = zip.get(directory..)?;
    let is_one = entries == 1 && entry.starts_with(ENTRY);
    is_one.then_some(u64::from(u32::from_le_bytes(entry.get(24..28)?.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zip with one stored file `bootstrap` of `bytes`, as far as it is read.
    fn zip(bytes: &[u8]) -> Vec<u8> {
        let size = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let head = |magic: &[u8]| [magic, &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        let mut zip = [&head(b"PK\x03\x04"), size.as_slice(), &size, &[9, 0, 0, 0], b"bootstrap", bytes].concat();
        let start = u32::try_from(zip.len()).unwrap().to_le_bytes();
        let entry = [&head(b"PK\x01\x02\x14\x00"), size.as_slice(), &size, &[9, 0], &[0; 16], b"bootstrap"].concat();
        let length = u32::try_from(entry.len()).unwrap().to_le_bytes();
        zip.extend(entry);
        zip.extend([b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &length, &start, &[0, 0]].concat());
        zip
    }

    #[test]
    fn sizes_of_a_package() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| Size::of(folder.path(), name);
        assert_eq!(of("not-built").unwrap(), Size::default());
        let make = |name: &str, file: &str, bytes: &[u8]| {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join(file), bytes).unwrap();
        };
        make("binary", "bootstrap", &[7; 300]);
        assert_eq!(of("binary").unwrap(), Size { binary: Some(300), zip: None });
        let zip = zip(&[7; 300]);
        make("zipped", "bootstrap.zip", &zip);
        assert_eq!(of("zipped").unwrap(), Size { binary: Some(300), zip: u64::try_from(zip.len()).ok() });
        make("broken", "bootstrap.zip", b"PK");
        assert!(of("broken").unwrap_err().to_string().contains("broken/bootstrap.zip is no zip"));
    }
}
