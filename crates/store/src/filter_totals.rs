//! How many filters there are and what they hold, counted as they change.
//!
//! A walk over all keys would say the same and hold up whoever asks.

use crate::filter::{Filter, FilterKind};
use crate::node::Node;
use crate::value::ValueRef;
use std::ops::{AddAssign, SubAssign};

/// Figures of filters of one kind, or of one filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FilterFigures {
    /// Keys that hold such a filter, or the beginning of one that is being loaded.
    pub filters: u64,
    /// Items in them.
    pub items: u64,
    /// Items that they have room for before they grow: slots of cuckoo filters. Of one that is being loaded, none.
    pub capacity: u64,
    /// Bytes that they take.
    pub memory_bytes: u64,
}

/// Figures of all filters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FilterTotals {
    /// CF commands.
    pub cuckoo: FilterFigures,
    /// BF commands.
    pub bloom: FilterFigures,
}

impl FilterFigures {
    pub(crate) fn of(filter: &Filter) -> FilterFigures {
        let (items, capacity) = match filter {
            Filter::Cuckoo(filter) => (filter.items(), filter.slots()),
            Filter::Bloom(filter) => (filter.items(), filter.capacity()),
            Filter::Loading(_) => (0, 0),
        };
        FilterFigures { filters: 1, items, capacity, memory_bytes: filter.memory_bytes() as u64 }
    }
}

impl FilterTotals {
    /// Counts a filter.
    pub(crate) fn add(&mut self, filter: &Filter) {
        *self.of_kind(filter.kind()) += FilterFigures::of(filter);
    }

    /// Counts a filter no more. It must be as it was when it was counted.
    pub(crate) fn remove(&mut self, filter: &Filter) {
        *self.of_kind(filter.kind()) -= FilterFigures::of(filter);
    }

    /// Counts what a new node holds, if that is a filter.
    #[inline]
    pub(crate) fn add_node(&mut self, node: &Node) {
        if node.is_large()
            && let ValueRef::Filter(filter) = node.value()
        {
            self.add(filter);
        }
    }

    /// Counts what a node that is gone held no more, if that was a filter.
    #[inline]
    pub(crate) fn remove_node(&mut self, node: &Node) {
        if node.is_large()
            && let ValueRef::Filter(filter) = node.value()
        {
            self.remove(filter);
        }
    }

    fn of_kind(&mut self, kind: FilterKind) -> &mut FilterFigures {
        match kind {
            FilterKind::Cuckoo => &mut self.cuckoo,
            FilterKind::Bloom => &mut self.bloom,
        }
    }
}

impl AddAssign for FilterFigures {
    fn add_assign(&mut self, other: FilterFigures) {
        self.filters += other.filters;
        self.items += other.items;
        self.capacity += other.capacity;
        self.memory_bytes += other.memory_bytes;
    }
}

impl SubAssign for FilterFigures {
    fn sub_assign(&mut self, other: FilterFigures) {
        self.filters -= other.filters;
        self.items -= other.items;
        self.capacity -= other.capacity;
        self.memory_bytes -= other.memory_bytes;
    }
}

impl AddAssign for FilterTotals {
    fn add_assign(&mut self, other: FilterTotals) {
        self.cuckoo += other.cuckoo;
        self.bloom += other.bloom;
    }
}
