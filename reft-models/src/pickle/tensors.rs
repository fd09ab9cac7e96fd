//! The tensors of a pickled dictionary: which part of which storage each is.

use std::collections::{BTreeMap, BTreeSet};

use tch::Kind;

use super::fault::PickleFault;
use super::kind;
use super::machine::{Heap, ObjectId, PickleObject};

/// Dictionaries inside each other that are looked into.
const DEEPEST: usize = 8;

/// Bytes of a key at most.
const LONGEST_KEY: usize = 1024;

/// A tensor as a view of a storage; offset and strides in elements.
pub(super) struct StridedView {
    pub storage: String,
    pub kind: Kind,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

impl StridedView {
    /// Its elements; none when they cannot be counted.
    pub fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n))
    }

    /// The element of the storage after its last one; none when that cannot be counted, or it has no elements.
    pub fn end(&self) -> Option<usize> {
        let steps = self.shape.iter().zip(&self.stride);
        let last = |end: usize, (n, stride): (&usize, &usize)| end.checked_add(n.checked_sub(1)?.checked_mul(*stride)?);
        steps.into_iter().try_fold(self.offset, last)?.checked_add(1)
    }

    /// Whether its elements lie one after the other.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.stride).rev().all(|(&n, &stride)| {
            let fits = n == 1 || stride == expected;
            expected *= n;
            fits
        })
    }
}

/// What a dictionary holds.
#[derive(Default)]
pub(super) struct StateDict {
    pub tensors: BTreeMap<String, StridedView>,
    /// Tensors that hold no floating-point numbers, with their type.
    pub others: BTreeMap<String, String>,
}

/// Refuses a pickle of something else than a dictionary, such as a whole module with its code's names.
///
/// # Errors
/// What there is instead.
pub(super) fn check_dictionary(heap: &Heap, root: ObjectId) -> Result<(), PickleFault> {
    match heap.get(root) {
        PickleObject::Dict(_) => Ok(()),
        _ => Err(PickleFault::NoDictionary(describe(heap, root))),
    }
}

/// All tensors below `root`. The name of one in a dictionary inside another has the keys on the way before it, with dots.
///
/// # Errors
/// When a tensor is described wrongly.
pub(super) fn collect(heap: &Heap, root: ObjectId) -> Result<StateDict, PickleFault> {
    let mut found = StateDict::default();
    let (mut open, mut seen) = (vec![(String::new(), root, 0)], BTreeSet::from([root]));
    while let Some((prefix, id, depth)) = open.pop() {
        let PickleObject::Dict(pairs) = heap.get(id) else { continue };
        for &(key, value) in pairs {
            let Some(key) = heap.text(key) else { continue };
            if key.len() > LONGEST_KEY {
                return Err(PickleFault::Damaged(format!("a name of {} bytes", key.len())));
            }
            let name = format!("{prefix}{key}");
            if depth < DEEPEST && matches!(heap.get(value), PickleObject::Dict(_)) && seen.insert(value) {
                open.push((format!("{name}."), value, depth + 1));
            } else {
                found.add(heap, name, value)?;
            }
        }
    }
    Ok(found)
}

impl StateDict {
    fn add(&mut self, heap: &Heap, name: String, value: ObjectId) -> Result<(), PickleFault> {
        let wrong = || PickleFault::Damaged(format!("tensor `{name}` is described wrongly"));
        match unwrapped(heap, value) {
            TensorValue::Nothing => {}
            TensorValue::Otherwise(how) => {
                self.others.insert(name, how.to_owned());
            }
            TensorValue::Plain { arguments, dtype } => {
                let (view, element) = view(heap, arguments, dtype).ok_or_else(wrong)?;
                match view {
                    Some(view) => drop(self.tensors.insert(name, view)),
                    None => drop(self.others.insert(name, element)),
                }
            }
        }
        Ok(())
    }
}

/// How a value of a dictionary becomes a tensor.
enum TensorValue<'a> {
    /// Not at all.
    Nothing,
    /// From a view of a storage; with a type of its own where the storage is of bare bytes.
    Plain { arguments: &'a [ObjectId], dtype: Option<&'a str> },
    /// By this function, for tensors of another kind.
    Otherwise(&'a str),
}

/// Looks through the wrappings of parameters and subclasses.
fn unwrapped(heap: &Heap, mut value: ObjectId) -> TensorValue<'_> {
    for _ in 0..DEEPEST {
        let PickleObject::Call { mut callable, arguments } = *heap.get(value) else { return TensorValue::Nothing };
        let Some(mut arguments) = heap.tuple(arguments) else { return TensorValue::Nothing };
        if heap.class(callable) == Some(("torch._tensor", "_rebuild_from_type_v2")) {
            let &[function, _, inner, ..] = arguments else { return TensorValue::Nothing };
            let Some(inner) = heap.tuple(inner) else { return TensorValue::Nothing };
            (callable, arguments) = (function, inner);
        }
        match heap.class(callable) {
            Some(("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2")) => {
                return TensorValue::Plain { arguments, dtype: None };
            }
            Some(("torch._utils", "_rebuild_tensor_v3")) => {
                let dtype = arguments.get(6).and_then(|&id| heap.class(id)).map(|(_, name)| name);
                return TensorValue::Plain { arguments, dtype };
            }
            Some(("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")) => match arguments.first() {
                Some(&inner) => value = inner,
                None => return TensorValue::Nothing,
            },
            Some(("torch._utils", function)) if function.starts_with("_rebuild_") => {
                return TensorValue::Otherwise(function);
            }
            Some(_) | None => return TensorValue::Nothing,
        }
    }
    TensorValue::Nothing
}

/// A reference to a storage.
pub(super) struct StorageReference<'a> {
    pub key: String,
    /// The class, which says what the elements are.
    pub class: &'a str,
    /// Elements before it, where it is a part of another.
    pub offset: usize,
}

impl<'a> StorageReference<'a> {
    /// `('storage', class, key, device, elements)`, in the legacy form with a part of another storage behind it.
    pub fn read(heap: &'a Heap, id: ObjectId) -> Option<Self> {
        let PickleObject::Persistent(id) = *heap.get(id) else { return None };
        let &[tag, class, key, _, _, ref rest @ ..] = heap.tuple(id)? else { return None };
        let key = match heap.get(key) {
            PickleObject::Text(key) => key.clone(),
            PickleObject::Int(key) => key.to_string(),
            _ => return None,
        };
        let part = rest.first().and_then(|&part| heap.tuple(part));
        let offset = part.map_or(Some(0), |part| heap.size(*part.get(1)?))?;
        (heap.text(tag)? == "storage").then_some(Self { key, class: heap.class(class)?.1, offset })
    }
}

/// The view that these arguments of PyTorch's function describe, none for other types, and the type of its elements.
fn view(heap: &Heap, arguments: &[ObjectId], dtype: Option<&str>) -> Option<(Option<StridedView>, String)> {
    let &[storage, offset, shape, stride, ..] = arguments else { return None };
    let reference = StorageReference::read(heap, storage)?;
    let element = dtype.unwrap_or(reference.class);
    let name = element.trim_end_matches("Storage").to_owned();
    let Some(kind) = kind(element) else { return Some((None, name)) };
    let (shape, stride) = (sizes(heap, shape)?, sizes(heap, stride)?);
    let offset = heap.size(offset)?.checked_add(reference.offset)?;
    let view = StridedView { storage: reference.key, kind, offset, shape, stride };
    (view.shape.len() == view.stride.len()).then_some((Some(view), name))
}

/// A tuple of sizes, perhaps wrapped as `torch.Size`.
fn sizes(heap: &Heap, id: ObjectId) -> Option<Vec<usize>> {
    let id = match *heap.get(id) {
        PickleObject::Call { callable, arguments } if heap.class(callable) == Some(("torch", "Size")) => {
            *heap.tuple(arguments)?.first()?
        }
        _ => id,
    };
    heap.tuple(id)?.iter().map(|&size| heap.size(size)).collect()
}

/// What there is in place of a dictionary.
fn describe(heap: &Heap, id: ObjectId) -> String {
    match heap.get(id) {
        PickleObject::Call { callable, .. } => {
            heap.class(*callable).map_or_else(|| "an object".to_owned(), |(module, name)| format!("a {module}.{name}"))
        }
        PickleObject::List(_) | PickleObject::Tuple(_) => "a list".to_owned(),
        _ => "a single value".to_owned(),
    }
}
