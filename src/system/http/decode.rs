//! Decompresses a body that is compressed despite `Accept-Encoding: identity`: some servers and many
//! gateways do so anyway.

use super::head::list;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::io::Read;
use zeroize::Zeroizing;

/// The longest decompressed body, in bytes.
const LONGEST: usize = super::LONGEST_BODY;

/// The most codings that are removed one after another.
const MOST_CODINGS: usize = 4;

/// The body before it was compressed.
///
/// # Errors
/// In words that follow "the reply of … could not be read:".
pub(super) fn unpack(fields: &[(String, String)], body: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let mut plain = Zeroizing::new(body.to_vec());
    // Transfer codings were put on last, and so come off first.
    let content = list(fields, "content-encoding");
    let codings: Vec<String> = content.chain(list(fields, "transfer-encoding")).map(str::to_ascii_lowercase).collect();
    let codings = codings.iter().filter(|name| !matches!(name.as_str(), "identity" | "chunked"));
    for (at, name) in codings.rev().enumerate() {
        if plain.is_empty() {
            break;
        }
        let unpacked = match name.as_str() {
            _ if at >= MOST_CODINGS => return Err("it is compressed too many times"),
            // Something on the way decompressed it and kept the header line.
            "gzip" | "x-gzip" if !plain.starts_with(&[0x1f, 0x8b]) => continue,
            "gzip" | "x-gzip" => read(MultiGzDecoder::new(plain.as_slice())),
            // RFC 9110 §8.4.1.2: with a head of zlib. Some servers send it without.
            "deflate" => match read(ZlibDecoder::new(plain.as_slice())) {
                Err(DAMAGED) => read(DeflateDecoder::new(plain.as_slice())),
                other => other,
            },
            _ => Err("it has an unsupported compression"),
        };
        plain = unpacked?;
    }
    Ok(plain)
}

const DAMAGED: &str = "its compressed content is damaged or incomplete";

fn read(decoder: impl Read) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    // Allocated at once, so that growing leaves no unwiped copies behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(64 << 10));
    let limit = LONGEST as u64 + 1;
    decoder.take(limit).read_to_end(&mut plain).map_err(|_| DAMAGED)?;
    if plain.len() > LONGEST { Err("it is longer than 1 MiB") } else { Ok(plain) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn unpacked(name: &str, coding: &str, body: &[u8]) -> Result<Vec<u8>, &'static str> {
        unpack(&[(name.into(), coding.into())], body).map(|plain| plain.to_vec())
    }

    #[test]
    fn each_coding_is_taken_off() {
        let packed = gzip(b"{}");
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"{}").unwrap();
        let zlib = zlib.finish().unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(b"{}").unwrap();
        let bare = bare.finish().unwrap();
        let two = [gzip(b"{"), gzip(b"}")].concat();
        for (name, coding, body) in [
            ("Content-Encoding", "gzip", &packed),
            ("content-encoding", "X-GZip", &packed),
            ("Content-Encoding", "gzip", &two),
            ("Content-Encoding", "gzip", &b"{}".to_vec()),
            ("Content-Encoding", "gzip, gzip", &gzip(&packed)),
            ("Content-Encoding", "identity", &b"{}".to_vec()),
            ("Content-Encoding", "", &b"{}".to_vec()),
            ("Content-Encoding", "deflate", &zlib),
            ("Content-Encoding", "deflate", &bare),
            ("Transfer-Encoding", "gzip, chunked", &packed),
        ] {
            assert_eq!(unpacked(name, coding, body).as_deref(), Ok(&b"{}"[..]), "{name}: {coding}");
        }
        assert_eq!(unpacked("Content-Encoding", "br", b""), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_unpacked_is_told() {
        let packed = gzip(b"{\"access_token\":\"x\"}");
        for cut in 2..packed.len() {
            assert!(unpacked("Content-Encoding", "gzip", &packed[..cut]).is_err(), "{cut} bytes");
        }
        let err = |coding, body: &[u8]| unpacked("Content-Encoding", coding, body).unwrap_err();
        assert!(err("br", b"x").contains("unsupported"));
        assert!(err("gzip", &gzip(&vec![b'x'; LONGEST + 1])).contains("1 MiB"));
        assert!(err("gzip,gzip,gzip,gzip,gzip", &gzip(&gzip(&gzip(&gzip(&gzip(b"x")))))).contains("too many"));
        assert_eq!(unpacked("Content-Encoding", "gzip", &gzip(&vec![b'x'; LONGEST])).unwrap().len(), LONGEST);
    }
}
