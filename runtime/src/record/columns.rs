//! Columns: one field of several records or messages, laid end to end. In this shape batches and
//! outcomes cross the boundary; `wit/function.wit` says what each part means.

use crate::record::Header;

/// A length that says null.
pub const NULL: i32 = -1;
/// A length that says "as in the source record". In outcomes only.
pub const AS_IN_SOURCE: i32 = -2;

/// One field of several records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// For each record the length of its value, or a special one.
    pub lens: Vec<i32>,
    /// The values, end to end.
    pub data: Vec<u8>,
}

/// The headers of several records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderColumns {
    /// For each record how many headers it has.
    pub counts: Vec<i32>,
    pub names: Column,
    pub values: Column,
}

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    AsInSource,
    Null,
    Bytes(&'a [u8]),
}

impl Column {
    pub fn push(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.lens.push(NULL),
            Some(value) => {
                self.lens.push(count(value.len()));
                self.data.extend_from_slice(value);
            }
        }
    }

    pub fn clear(&mut self) {
        self.lens.clear();
        self.data.clear();
    }

    /// The value at an index, which starts at this byte of the data. Of a column without special
    /// lengths other than null.
    pub fn value(&self, index: usize, start: usize) -> Option<&[u8]> {
        let length = usize::try_from(self.lens[index]).ok()?;
        Some(&self.data[start..start + length])
    }
}

impl HeaderColumns {
    pub fn push<'a>(&mut self, headers: impl Iterator<Item = Header<'a>>) {
        let before = self.names.lens.len();
        for header in headers {
            self.names.push(Some(header.name));
            self.values.push(header.value);
        }
        self.counts.push(count(self.names.lens.len() - before));
    }

    pub fn clear(&mut self) {
        self.counts.clear();
        self.names.clear();
        self.values.clear();
    }
}

/// Kafka counts in signed 32 bits too, so nothing that was read from it is more.
fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// Cuts the next value off the data of a column whose lengths add up.
pub fn cut<'a>(data: &mut &'a [u8], length: i32) -> Field<'a> {
    match length {
        AS_IN_SOURCE => Field::AsInSource,
        NULL => Field::Null,
        length => {
            let (value, rest) = data.split_at(length as usize);
            *data = rest;
            Field::Bytes(value)
        }
    }
}

/// The headers of one record: an iterator over names and values.
#[derive(Clone, Copy, Debug)]
pub struct HeaderRun<'a> {
    pub(crate) name_lens: &'a [i32],
    pub(crate) value_lens: &'a [i32],
    /// Data that begins with their names; more may follow.
    pub(crate) names: &'a [u8],
    /// Data that begins with their values; more may follow.
    pub(crate) values: &'a [u8],
}

impl<'a> Iterator for HeaderRun<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&name_len, name_lens) = self.name_lens.split_first()?;
        let (&value_len, value_lens) = self.value_lens.split_first()?;
        (self.name_lens, self.value_lens) = (name_lens, value_lens);
        let Field::Bytes(name) = cut(&mut self.names, name_len) else { return None };
        let value = match cut(&mut self.values, value_len) {
            Field::Bytes(value) => Some(value),
            _ => None,
        };
        Some(Header { name, value })
    }
}
