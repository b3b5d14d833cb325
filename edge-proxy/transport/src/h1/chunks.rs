//! The chunks of a request's body (RFC 9112 section 7.1), followed byte by byte, so that it is known where they end and nothing else is taken for one.
//!
//! Pure: it changes no byte, it says how many belong to the body.

use crate::head::Refusal;

/// Digits of a chunk's size.
const SIZE_DIGITS_MAX: u32 = 15;
/// Bytes of the extensions of one chunk.
const EXTENSION_BYTES_MAX: u32 = 1024;
/// Bytes of all extensions of a body.
const EXTENSIONS_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of the trailer section.
const TRAILER_BYTES_MAX: u32 = 8 * 1024;

/// How far a body has come.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    state: State,
    /// The size of the chunk as far as it is read, then what is left of the chunk.
    left: u64,
    /// Digits of the size, then bytes of the extensions of this chunk.
    counted: u32,
    extensions: u32,
    trailers: u32,
    length: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the size.
    #[default]
    Size,
    /// In the white space before an extension.
    Space,
    /// In the extensions.
    Extension,
    /// The LF of the line with the size is due.
    SizeEnd,
    Data,
    /// The CR, then the LF behind the data are due.
    DataCr,
    DataLf,
    /// At the beginning of a trailer line.
    Trailer,
    /// In the name of a trailer field.
    TrailerName,
    /// In its value.
    TrailerValue,
    /// The LF of its line is due.
    TrailerEnd,
    /// The LF of the last line is due.
    LastLf,
    Done,
}

impl Chunks {
    /// Whether the last chunk and the trailer section have passed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The bytes of content so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many of these bytes, which follow those before, belong to the body: all of them, or those up to its end.
    ///
    /// # Errors
    /// When they are no chunks, or a bound is passed; `length_max` is that of the content, 0 for none.
    pub fn take(&mut self, bytes: &[u8], length_max: u64) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            at += match self.content(bytes.len() - at) {
                0 => {
                    self.state = self.next(bytes[at], length_max)?;
                    1
                }
                run => run,
            };
        }
        Ok(at)
    }

    /// How many of these bytes, which follow those before, are no content: all of them, or those up to the next content or to the end.
    ///
    /// # Errors
    /// When they are no chunks.
    pub(crate) fn skip(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && !matches!(self.state, State::Data | State::Done) {
            // Origins pad the size with spaces; where the line ends is as clear with them.
            self.state = if (self.state, bytes[at]) == (State::Space, b'\r') { State::SizeEnd } else { self.next(bytes[at], 0)? };
            at += 1;
        }
        Ok(at)
    }

    /// How many of the next `bytes`, behind what is to be skipped, are content.
    pub(crate) fn content(&mut self, bytes: usize) -> usize {
        if self.state != State::Data {
            return 0;
        }
        let run = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes);
        self.left -= run as u64;
        if self.left == 0 {
            self.state = State::DataCr;
        }
        run
    }

    fn next(&mut self, byte: u8, length_max: u64) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (State::Size | State::Space, b';') if self.counted > 0 => {
                self.counted = 0;
                self.extension(State::Extension)
            }
            // RFC 9112 section 7.1.1 has white space before an extension read, and nowhere else.
            (State::Size | State::Space, b' ' | b'\t') if self.counted > 0 => self.extension(State::Space),
            (State::Size, b'\r') if self.counted > 0 => Ok(State::SizeEnd),
            (State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Extension, _) if is_text(byte) => {
                self.counted += 1;
                if self.counted > EXTENSION_BYTES_MAX { Err(Refusal::Chunk) } else { self.extension(State::Extension) }
            }
            (State::SizeEnd, b'\n') => self.begin(length_max),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::Trailer, b'\r') => Ok(State::LastLf),
            (State::Trailer | State::TrailerName, _) if is_token(byte) => self.trailer(State::TrailerName),
            (State::TrailerName, b':') => self.trailer(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerValue, _) if is_text(byte) => self.trailer(State::TrailerValue),
            (State::TrailerEnd, b'\n') => Ok(State::Trailer),
            (State::LastLf, b'\n') => Ok(State::Done),
            _ => Err(Refusal::Chunk),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, Refusal> {
        if self.counted == SIZE_DIGITS_MAX {
            return Err(Refusal::Chunk);
        }
        self.counted += 1;
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        self.left = self.left << 4 | u64::from(value);
        Ok(State::Size)
    }

    fn extension(&mut self, state: State) -> Result<State, Refusal> {
        self.extensions += 1;
        if self.extensions > EXTENSIONS_BYTES_MAX { Err(Refusal::Chunk) } else { Ok(state) }
    }

    fn trailer(&mut self, state: State) -> Result<State, Refusal> {
        self.trailers += 1;
        if self.trailers > TRAILER_BYTES_MAX { Err(Refusal::Chunk) } else { Ok(state) }
    }

    /// The line with the size is over.
    fn begin(&mut self, length_max: u64) -> Result<State, Refusal> {
        self.counted = 0;
        self.length = self.length.saturating_add(self.left);
        if length_max != 0 && self.length > length_max {
            return Err(Refusal::BodyLength);
        }
        Ok(if self.left == 0 { State::Trailer } else { State::Data })
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
