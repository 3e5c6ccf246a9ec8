//! What in replies about streams is a server's own: how long ago something happened, and how entries lie in memory.

use super::value::Value;

/// Names whose values are times, or sizes of a radix tree.
const OWN: &[&[u8]] =
    &[b"idle", b"inactive", b"seen-time", b"active-time", b"radix-tree-keys", b"radix-tree-nodes"];
/// Those that Redis 7.0 does not have.
const NEW: &[&[u8]] = &[b"inactive", b"active-time"];

/// The same reply without what cannot be equal.
pub(super) fn without_times(value: &Value) -> Value {
    match value {
        Value::Map(elements) => Value::Map(without_names(elements)),
        Value::Array(elements) => Value::Array(match &elements[..] {
            // Rows of pending entries.
            [
                id @ Value::Bulk(_),
                consumer @ Value::Bulk(_),
                Value::Integer(_),
                count @ Value::Integer(_),
            ] => {
                vec![id.clone(), consumer.clone(), count.clone()]
            }
            [id @ Value::Bulk(_), Value::Integer(_), count @ Value::Integer(_)] => {
                vec![id.clone(), count.clone()]
            }
            elements => without_names(elements),
        }),
        other => other.clone(),
    }
}

fn without_names(elements: &[Value]) -> Vec<Value> {
    let mut kept = Vec::with_capacity(elements.len());
    let mut rest = elements.iter();
    while let Some(element) = rest.next() {
        match element {
            Value::Bulk(name) if NEW.contains(&&name[..]) => drop(rest.next()),
            Value::Bulk(name) if OWN.contains(&&name[..]) => {
                kept.push(element.clone());
                rest.next();
            }
            element => kept.push(without_times(element)),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_and_counts_stay() {
        let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        let row = |idle, count| {
            Value::Array(vec![bulk("1-1"), bulk("alice"), Value::Integer(idle), Value::Integer(count)])
        };
        assert_eq!(without_times(&row(5, 1)), without_times(&row(9, 1)));
        assert_ne!(without_times(&row(5, 1)), without_times(&row(5, 2)));
        let old = Value::Map(vec![bulk("pending"), Value::Integer(1), bulk("idle"), Value::Integer(7)]);
        let new = Value::Map(vec![
            bulk("pending"),
            Value::Integer(1),
            bulk("idle"),
            Value::Integer(8),
            bulk("inactive"),
            Value::Integer(-1),
        ]);
        assert_eq!(without_times(&old), without_times(&new));
    }
}
