//! Files: named tensors and a description in one safetensors file, whole or not there.
//!
//! The header has one metadata key, `ermin`: JSON of the form `{"description":…,"sha256":"…"}`, whose digest is that of
//! the whole file with the digest's own 64 characters as zeros. A file is written under a temporary name in the same
//! directory, synced, and renamed. Loading checks everything and runs nothing.

use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// A named array of numbers: little-endian bytes in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Unique in the file.
    pub name: String,
    /// "F32", "F64" or "I64".
    pub dtype: String,
    /// Elements by dimension.
    pub shape: Vec<usize>,
    /// The elements.
    pub bytes: Vec<u8>,
}

const KEY: &str = "ermin";
const DTYPES: [(&str, Dtype); 3] = [("F32", Dtype::F32), ("F64", Dtype::F64), ("I64", Dtype::I64)];
/// How the digest is announced inside the header, where quotes are escaped.
const DIGEST_PREFIX: &[u8] = br#"\"sha256\":\""#;
const DIGEST_LENGTH: usize = 64;

fn broken(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::File { reason: format!("{}: {reason}", path.display()) }
}

/// Where in the file's bytes the digest stands.
fn digest_place(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let header = usize::try_from(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)).ok()?;
    let header = bytes.get(8..8usize.checked_add(header)?)?;
    let found = header.windows(DIGEST_PREFIX.len()).rposition(|window| window == DIGEST_PREFIX)?;
    let start = 8 + found + DIGEST_PREFIX.len();
    (start + DIGEST_LENGTH <= 8 + header.len()).then(|| start..start + DIGEST_LENGTH)
}

fn digest(bytes: &mut [u8], place: std::ops::Range<usize>) -> String {
    bytes[place].fill(b'0');
    Sha256::digest(&*bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file; `description` is JSON.
pub fn save(path: &Path, description: &str, tensors: &[Tensor]) -> Result<()> {
    let fail = |reason: &dyn std::fmt::Display| broken(path, reason);
    let mut views = Vec::new();
    for tensor in tensors {
        let dtype = DTYPES.into_iter().find(|(name, _)| *name == tensor.dtype);
        let (_, dtype) = dtype.ok_or_else(|| fail(&format!("cannot hold the dtype {}", tensor.dtype)))?;
        let view =
            TensorView::new(dtype, tensor.shape.clone(), &tensor.bytes).map_err(|error| fail(&error))?;
        views.push((tensor.name.as_str(), view));
    }
    let metadata = format!("{{\"description\":{description},\"sha256\":\"{}\"}}", "0".repeat(DIGEST_LENGTH));
    let metadata = HashMap::from([(KEY.to_string(), metadata)]);
    let mut bytes = serialize(views, Some(metadata)).map_err(|error| fail(&error))?;
    let place = digest_place(&bytes).ok_or_else(|| fail(&"the header has no place for a digest"))?;
    let digest = digest(&mut bytes, place.clone());
    bytes[place].copy_from_slice(digest.as_bytes());

    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(".ermin-").tempfile_in(directory).map_err(|error| fail(&error))?;
    file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(|error| fail(&error))?;
    file.persist(path).map(drop).map_err(|error| fail(&error.error))
}

/// Reads a file: its description, and its tensors by name.
pub fn load(path: &Path) -> Result<(String, Vec<Tensor>)> {
    let mut bytes = std::fs::read(path).map_err(|error| broken(path, error))?;
    let no_model = || broken(path, "is not a model saved by ermin");
    let place = digest_place(&bytes).ok_or_else(no_model)?;
    let expected = bytes[place.clone()].to_vec();
    if digest(&mut bytes, place.clone()).as_bytes() != expected {
        return Err(broken(path, "is damaged: its SHA-256 is not the one it was saved with"));
    }
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| broken(path, error))?;
    let metadata =
        metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY)).ok_or_else(no_model)?;
    let suffix = format!(",\"sha256\":\"{}\"}}", "0".repeat(DIGEST_LENGTH));
    let description = metadata.strip_prefix("{\"description\":").and_then(|rest| rest.strip_suffix(&suffix));
    let description = description.ok_or_else(no_model)?.to_string();
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| broken(path, error))?;
    let mut named = Vec::new();
    for (name, view) in tensors.tensors() {
        let dtype = DTYPES.into_iter().find(|(_, dtype)| *dtype == view.dtype()).ok_or_else(no_model)?.0;
        let (dtype, shape, bytes) = (dtype.to_string(), view.shape().to_vec(), view.data().to_vec());
        named.push(Tensor { name, dtype, shape, bytes });
    }
    named.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((description, named))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> Vec<Tensor> {
        let tensor = |name: &str, n: usize| Tensor {
            name: name.to_string(),
            dtype: "F32".to_string(),
            shape: vec![n],
            bytes: vec![7; 4 * n],
        };
        vec![tensor("a", 3), tensor("b", 0)]
    }

    #[test]
    fn what_was_saved_is_loaded_and_the_same_content_is_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("1"), directory.path().join("2"));
        let description = r#"{"text":"a \"quoted\" é"}"#;
        save(&first, description, &tensors()).unwrap();
        save(&second, description, &tensors()).unwrap();
        assert_eq!(load(&first).unwrap(), (description.to_string(), tensors()));
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn no_damaged_byte_and_no_shortened_file_is_taken_for_a_model() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model");
        save(&path, "{}", &tensors()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert!(matches!(load(&path), Err(Error::File { .. })), "byte {i}");
            std::fs::write(&path, &bytes[..i]).unwrap();
            assert!(matches!(load(&path), Err(Error::File { .. })), "length {i}");
        }
    }
}
