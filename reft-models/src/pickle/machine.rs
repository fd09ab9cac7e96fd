//! A pickle as plain data: dictionaries, lists, numbers and texts, and calls by name that are never made. Objects lie in
//! one list and refer to each other by their place, so shared and circular ones cost nothing.

use std::collections::BTreeMap;

/// An object's place.
pub(super) type ObjectId = usize;

/// What a pickle may hold.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum PickleObject {
    /// Numbers with a point, sets, and whatever else no checkpoint needs.
    Opaque,
    None,
    Bool(bool),
    Int(i64),
    Text(String),
    Tuple(Vec<ObjectId>),
    List(Vec<ObjectId>),
    Dict(Vec<(ObjectId, ObjectId)>),
    Class {
        module: String,
        name: String,
    },
    /// What calling `callable` with these arguments would give.
    Call {
        callable: ObjectId,
        arguments: ObjectId,
    },
    /// A reference to something outside the pickle: a storage.
    Persistent(ObjectId),
}

/// Bytes that are read one after the other.
pub(super) struct ByteReader<'a> {
    bytes: &'a [u8],
    pub at: usize,
}

const CUT: &str = "it ends in the middle";

impl<'a> ByteReader<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).ok_or(CUT)?;
        let taken = self.bytes.get(self.at..end).ok_or(CUT)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| CUT.to_owned())
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    /// A length of `N` bytes, little-endian.
    fn length<const N: usize>(&mut self) -> Result<usize, String> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.array::<N>()?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| CUT.to_owned())
    }

    /// A whole number of 8 bytes.
    pub fn long(&mut self) -> Result<i64, String> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn text<const N: usize>(&mut self) -> Result<String, String> {
        let length = self.length::<N>()?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or(CUT)?;
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }
}

/// All objects of a pickle.
#[derive(Default)]
pub(super) struct Heap {
    objects: Vec<PickleObject>,
}

impl Heap {
    pub fn get(&self, id: ObjectId) -> &PickleObject {
        &self.objects[id]
    }

    pub fn all(&self) -> impl Iterator<Item = &PickleObject> {
        self.objects.iter()
    }

    pub fn text(&self, id: ObjectId) -> Option<&str> {
        if let PickleObject::Text(text) = self.get(id) { Some(text) } else { None }
    }

    pub fn tuple(&self, id: ObjectId) -> Option<&[ObjectId]> {
        if let PickleObject::Tuple(items) | PickleObject::List(items) = self.get(id) { Some(items) } else { None }
    }

    pub fn class(&self, id: ObjectId) -> Option<(&str, &str)> {
        if let PickleObject::Class { module, name } = self.get(id) { Some((module, name)) } else { None }
    }

    pub fn size(&self, id: ObjectId) -> Option<usize> {
        if let PickleObject::Int(number) = *self.get(id) { usize::try_from(number).ok() } else { None }
    }

    /// Pairs that a call of a dictionary's class begins with: none, or those of a list (Python 2).
    fn pairs(&self, arguments: ObjectId) -> Vec<(ObjectId, ObjectId)> {
        let first = self.tuple(arguments).and_then(|arguments| self.tuple(*arguments.first()?)).unwrap_or_default();
        let pair = |&id: &ObjectId| match self.tuple(id) {
            Some(&[key, value]) => Some((key, value)),
            Some(_) | None => None,
        };
        first.iter().filter_map(pair).collect()
    }
}

/// The objects made so far, those being worked on, and those remembered.
#[derive(Default)]
struct PickleMachine {
    heap: Heap,
    stack: Vec<ObjectId>,
    /// Heights of the stack where lists of arguments begin.
    marks: Vec<usize>,
    memo: BTreeMap<usize, ObjectId>,
    /// Pairs copied out of lists so far.
    copied: usize,
}

/// Pairs at most that are copied into dictionaries: a small file could ask for one list any number of times.
const MOST_COPIED: usize = 1 << 20;

/// Reads one pickle to its end; the objects and which of them is the whole.
///
/// # Errors
/// What is wrong with it.
pub(super) fn load(reader: &mut ByteReader<'_>) -> Result<(Heap, ObjectId), String> {
    let mut machine = PickleMachine::default();
    loop {
        let operation = reader.byte()?;
        if operation == b'.' {
            let root = machine.pop()?;
            return Ok((machine.heap, root));
        }
        machine.step(operation, reader)?;
    }
}

impl PickleMachine {
    fn step(&mut self, operation: u8, reader: &mut ByteReader<'_>) -> Result<(), String> {
        match operation {
            0x80 => drop(reader.byte()?),
            0x95 => drop(reader.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_marked()?),
            b'2' => self.stack.push(self.top()?),
            b'q' => self.remember(usize::from(reader.byte()?))?,
            b'r' => {
                let place = reader.length::<4>()?;
                self.remember(place)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => self.recall(usize::from(reader.byte()?))?,
            b'j' => {
                let place = reader.length::<4>()?;
                self.recall(place)?;
            }
            b'a' | b'e' | b's' | b'u' | 0x90 => self.extend(operation)?,
            b'R' | 0x81 | 0x92 | b'b' | b'Q' | 0x93 => self.combine(operation)?,
            b't' | 0x85..=0x87 | b'l' | b'd' | 0x91 => self.gather(operation)?,
            _ => {
                let object = value(operation, reader)?;
                self.push(object);
            }
        }
        Ok(())
    }

    /// Puts items into the collection below them.
    fn extend(&mut self, operation: u8) -> Result<(), String> {
        let items = match operation {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_marked()?,
        };
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        let top = self.top()?;
        match &mut self.heap.objects[top] {
            PickleObject::List(list) if matches!(operation, b'a' | b'e') => list.extend(items),
            PickleObject::Dict(dict) if matches!(operation, b's' | b'u') => dict.extend(pairs),
            // Items of an object that is not looked into.
            _ => {}
        }
        Ok(())
    }

    /// Makes one object of those on top of the stack.
    fn combine(&mut self, operation: u8) -> Result<(), String> {
        let last = self.pop()?;
        let object = match operation {
            b'Q' => PickleObject::Persistent(last),
            // An object's attributes, such as a dictionary's `_metadata`, are not its items.
            b'b' => return self.top().map(|_| ()),
            0x93 => {
                let module = self.pop()?;
                let named = self.heap.text(module).zip(self.heap.text(last)).ok_or("a class without a name")?;
                PickleObject::Class { module: named.0.to_owned(), name: named.1.to_owned() }
            }
            _ => {
                // NEWOBJ_EX has arguments by name on top.
                let arguments = if operation == 0x92 { self.pop()? } else { last };
                let callable = self.pop()?;
                let dictionaries = ["OrderedDict", "defaultdict", "dict"];
                match self.heap.class(callable) {
                    Some(("collections" | "builtins" | "__builtin__", name)) if dictionaries.contains(&name) => {
                        let pairs = self.heap.pairs(arguments);
                        self.copied += pairs.len();
                        if self.copied > MOST_COPIED {
                            return Err("more entries than a checkpoint has".to_owned());
                        }
                        PickleObject::Dict(pairs)
                    }
                    Some(_) | None => PickleObject::Call { callable, arguments },
                }
            }
        };
        self.push(object);
        Ok(())
    }

    /// Makes a collection of the objects on top of the stack.
    fn gather(&mut self, operation: u8) -> Result<(), String> {
        let items = match operation {
            0x85..=0x87 => {
                let from = self.stack.len().checked_sub(usize::from(operation - 0x84)).ok_or("too few objects")?;
                self.stack.split_off(from)
            }
            _ => self.pop_marked()?,
        };
        self.push(match operation {
            b'l' => PickleObject::List(items),
            b'd' => PickleObject::Dict(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()),
            0x91 => PickleObject::Opaque,
            _ => PickleObject::Tuple(items),
        });
        Ok(())
    }

    fn push(&mut self, object: PickleObject) {
        self.stack.push(self.heap.objects.len());
        self.heap.objects.push(object);
    }

    fn top(&self) -> Result<ObjectId, String> {
        self.stack.last().copied().ok_or_else(|| "an object is missing".to_owned())
    }

    fn pop(&mut self) -> Result<ObjectId, String> {
        self.stack.pop().ok_or_else(|| "an object is missing".to_owned())
    }

    fn pop_marked(&mut self) -> Result<Vec<ObjectId>, String> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, place: usize) -> Result<(), String> {
        self.memo.insert(place, self.top()?);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Result<(), String> {
        let id = *self.memo.get(&place).ok_or("an object is missing")?;
        self.stack.push(id);
        Ok(())
    }
}

/// A value that stands in the bytes themselves.
fn value(operation: u8, reader: &mut ByteReader<'_>) -> Result<PickleObject, String> {
    Ok(match operation {
        b'N' => PickleObject::None,
        0x88 => PickleObject::Bool(true),
        0x89 => PickleObject::Bool(false),
        b'J' => PickleObject::Int(i32::from_le_bytes(reader.array()?).into()),
        b'K' => PickleObject::Int(reader.byte()?.into()),
        b'M' => PickleObject::Int(u16::from_le_bytes(reader.array()?).into()),
        0x8a => {
            let length = usize::from(reader.byte()?);
            integer(reader.take(length)?)
        }
        b'G' => {
            reader.take(8)?;
            PickleObject::Opaque
        }
        b'X' | b'T' => PickleObject::Text(reader.text::<4>()?),
        b'U' | 0x8c => PickleObject::Text(reader.text::<1>()?),
        0x8d => PickleObject::Text(reader.text::<8>()?),
        b'C' => opaque::<1>(reader)?,
        b'B' => opaque::<4>(reader)?,
        0x8e => opaque::<8>(reader)?,
        b')' => PickleObject::Tuple(Vec::new()),
        b']' => PickleObject::List(Vec::new()),
        b'}' => PickleObject::Dict(Vec::new()),
        0x8f => PickleObject::Opaque,
        b'c' => PickleObject::Class { module: reader.line()?, name: reader.line()? },
        other => return Err(format!("instruction {other:#04x} is not one that checkpoints use")),
    })
}

/// A whole number in two's complement; one that is wider than 64 bits is no size.
fn integer(bytes: &[u8]) -> PickleObject {
    let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [fill; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => low.copy_from_slice(bytes),
        None => return PickleObject::Opaque,
    }
    PickleObject::Int(i64::from_le_bytes(wide))
}

fn opaque<const N: usize>(reader: &mut ByteReader<'_>) -> Result<PickleObject, String> {
    let length = reader.length::<N>()?;
    reader.take(length)?;
    Ok(PickleObject::Opaque)
}
