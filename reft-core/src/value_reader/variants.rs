//! The alternatives that a type has, from the type itself.

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The names of an `enum`'s alternatives in files; none for another type.
pub fn variants_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut known: &'static [&'static str] = &[];
    // The outcome is an error always: nothing is there to be read.
    let _ = T::deserialize(Probe(&mut known));
    known
}

/// A deserializer that notes which alternatives it is asked for.
struct Probe<'p>(&'p mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no alternatives"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = known;
        Err(Error::custom("nothing to read"))
    }
}
