//! The deserializer behind [`super::read`].

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use super::error::{ValueError, one_of};
use super::number::{nothing, real, shown, switch, whole};

/// A value that is about to be given a type.
#[derive(Clone, Copy)]
pub(super) struct ValueReader<'t>(pub &'t Value);

/// What an empty section has in it.
static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

type ReadResult<T> = Result<T, ValueError>;

impl<'t> ValueReader<'t> {
    /// The settings of a section, none if it is empty.
    fn section(self, keys: &[&str]) -> ReadResult<&'t Map<String, Value>> {
        match self.0 {
            Value::Object(map) => Ok(map),
            Value::Null => Ok(&EMPTY),
            other => {
                let keys = if keys.is_empty() { "settings".to_owned() } else { keys.join(", ") };
                Err(ValueError::new(format!("{} is not a section: write {keys} below it", shown(other))))
            }
        }
    }

    fn list(self) -> ReadResult<&'t [Value]> {
        match self.0 {
            Value::Array(list) => Ok(list),
            Value::Null => Err(nothing("a list such as [a, b]")),
            Value::Object(_) => Err(ValueError::new("a section is not a list: write [a, b]".to_owned())),
            Value::String(text) => Err(ValueError::new(format!("`{text}` is not a list: write [{text}]"))),
            other => Err(ValueError::new(format!("{other} is not a list: write [{other}]"))),
        }
    }

    /// A text; whole numbers and `true` are texts too where one is wanted, since their spelling is known.
    fn text(self) -> ReadResult<String> {
        match self.0 {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) if number.is_f64() => {
                Err(ValueError::new(format!("{number} is a number: put it in quotes, \"...\"")))
            }
            Value::Number(_) | Value::Bool(_) => Ok(self.0.to_string()),
            Value::Null => Err(nothing("a text")),
            other => Err(ValueError::new(format!("{} is not a text: write one value", shown(other)))),
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $number:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
            let number = whole(self.0, <$number>::MIN.into(), <$number>::MAX.into())?;
            visitor.$visit(<$number>::try_from(number).expect("in its range"))
        })*
    };
}

impl<'de> Deserializer<'de> for ValueReader<'_> {
    type Error = ValueError;

    forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct ignored_any }

    whole_numbers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::String(text) => visitor.visit_str(text),
            Value::Array(list) => visitor.visit_seq(Items { list, next: 0 }),
            Value::Object(map) => visitor.visit_map(Entries::of(map)),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, number) => visitor.visit_f64(number.unwrap_or(f64::NAN)),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        let value = match self.0 {
            Value::Bool(value) => Some(*value),
            Value::String(text) => switch(text),
            Value::Null => return Err(nothing("true or false")),
            _ => None,
        };
        let value =
            value.ok_or_else(|| ValueError::new(format!("{} is no switch: write true or false", shown(self.0))))?;
        visitor.visit_bool(value)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_f32(real(self.0)? as f32)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_f64(real(self.0)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_seq(Items { list: self.list()?, next: 0 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> ReadResult<V::Value> {
        let list = self.list()?;
        if list.len() != length {
            return Err(ValueError::new(format!("a list of {}: write {length} values", list.len())));
        }
        visitor.visit_seq(Items { list, next: 0 })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, n: usize, visitor: V) -> ReadResult<V::Value> {
        self.deserialize_tuple(n, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_map(Entries::of(self.section(&[])?))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        visitor.visit_map(Entries::of(self.section(keys)?))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        let words = || one_of(known);
        match self.0 {
            Value::Object(map) => {
                let mut entries = map.iter();
                match (entries.next(), entries.next()) {
                    (Some((name, content)), None) => visitor.visit_enum(Choice { name, content }),
                    (None, _) => Err(ValueError::new(format!("an empty section: write {}", words()))),
                    (Some((one, _)), Some((other, _))) => {
                        Err(ValueError::new(format!("`{one}` and `{other}` cannot both be chosen: write {}", words())))
                    }
                }
            }
            Value::Null => Err(nothing(&words())),
            Value::Array(_) => Err(ValueError::new(format!("a list does not fit here: write {}", words()))),
            Value::String(name) => visitor.visit_enum(Choice { name, content: &Value::Null }),
            other => Err(ValueError::unknown_variant(&other.to_string(), known)),
        }
    }
}

/// The values of a list, in order.
struct Items<'t> {
    list: &'t [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> ReadResult<Option<T::Value>> {
        let Some(value) = self.list.get(self.next) else { return Ok(None) };
        let item = self.next;
        self.next += 1;
        seed.deserialize(ValueReader(value)).map(Some).map_err(|error| error.at(item))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.list.len() - self.next)
    }
}

/// The settings of a section, in order.
struct Entries<'t> {
    rest: serde_json::map::Iter<'t>,
    current: Option<(&'t str, &'t Value)>,
}

impl<'t> Entries<'t> {
    fn of(map: &'t Map<String, Value>) -> Self {
        Self { rest: map.iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> ReadResult<Option<K::Value>> {
        self.current = self.rest.next().map(|(key, value)| (key.as_str(), value));
        self.current.map(|(key, _)| seed.deserialize(StrDeserializer::new(key))).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> ReadResult<T::Value> {
        let (key, value) = self.current.take().expect("a key comes before its value");
        seed.deserialize(ValueReader(value)).map_err(|error| error.under(key))
    }
}

/// One of several alternatives, with its settings if it has any.
struct Choice<'t> {
    name: &'t str,
    content: &'t Value,
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = ValueError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> ReadResult<(T::Value, Self)> {
        seed.deserialize(StrDeserializer::new(self.name)).map(|variant| (variant, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = ValueError;

    fn unit_variant(self) -> ReadResult<()> {
        match self.content {
            Value::Null => Ok(()),
            Value::Object(map) if map.is_empty() => Ok(()),
            _ => Err(ValueError::new(format!("`{}` has no settings: write the word alone", self.name))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> ReadResult<T::Value> {
        seed.deserialize(ValueReader(self.content)).map_err(|error| error.under(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> ReadResult<V::Value> {
        ValueReader(self.content).deserialize_tuple(length, visitor).map_err(|error| error.under(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(self, keys: &'static [&'static str], visitor: V) -> ReadResult<V::Value> {
        ValueReader(self.content).deserialize_struct("", keys, visitor).map_err(|error| error.under(self.name))
    }
}
