//! Distributions as they stand in memory: rows of events along any axis, in any strides, read and written in pieces.

use super::Element;
use crate::simd::Real;
use std::marker::PhantomData;
use std::ops::Range;

/// Where distributions stand in memory: any number of axes in front, events along the last; strides in bytes.
#[derive(Clone, Debug)]
struct Axes {
    /// (length, stride) of the axes in front, innermost first; those that follow each other are one.
    front: Vec<(usize, isize)>,
    n_events: usize,
    stride: isize,
}

impl Axes {
    /// An array of that shape and strides, its axes in front broadcast to `front`.
    fn new(front: &[usize], shape: &[usize], strides: &[isize]) -> Axes {
        let (Some((n_events, own)), Some((stride, strides))) = (shape.split_last(), strides.split_last())
        else {
            return Axes { front: Vec::new(), n_events: 0, stride: 0 };
        };
        let mut merged: Vec<(usize, isize)> = Vec::new();
        let mut own = own.iter().zip(strides).rev();
        for length in front.iter().rev() {
            let stride = own.next().filter(|(n, _)| **n != 1).map_or(0, |(_, stride)| *stride);
            match merged.last_mut() {
                _ if *length == 1 => {}
                Some((n, inner)) if stride == *n as isize * *inner => *n *= length,
                _ => merged.push((*length, stride)),
            }
        }
        Axes { front: merged, n_events: *n_events, stride: *stride }
    }

    /// Where a distribution begins.
    #[inline]
    fn offset(&self, row: usize) -> isize {
        match self.front.as_slice() {
            [] => 0,
            [(_, stride)] => row as isize * stride,
            axes => {
                let mut rest = row;
                let mut offset = 0;
                for (n, stride) in axes {
                    offset += (rest % n) as isize * stride;
                    rest /= n;
                }
                offset
            }
        }
    }

    /// Whether these events of these distributions follow each other in memory.
    fn adjacent(&self, rows: &Range<usize>, events: &Range<usize>, size: usize) -> bool {
        let row = (self.n_events * size) as isize;
        let next = rows.len() < 2
            || (events.len() == self.n_events && matches!(self.front[..], [(_, stride)] if stride == row));
        next && (events.len() < 2 || self.stride == size as isize)
    }
}

/// Distributions as they come: an array of native numbers in any strides, the last axis that of events.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    data: *const u8,
    element: Element,
    n_rows: usize,
    axes: Axes,
    memory: PhantomData<&'a [u8]>,
}

// SAFETY: they are only read.
unsafe impl Send for Events<'_> {}
// SAFETY: as above.
unsafe impl Sync for Events<'_> {}

impl<'a> Events<'a> {
    /// An array in memory that somebody else owns, its axes in front broadcast to `front`; strides are in bytes.
    ///
    /// # Safety
    /// For 'a, every element of the array is readable, aligned and of the type `element`. `shape` has a last axis, and
    /// its other axes broadcast to `front`, whose product fits.
    pub unsafe fn new(
        data: *const u8,
        element: Element,
        front: &[usize],
        shape: &[usize],
        strides: &[isize],
    ) -> Events<'a> {
        let axes = Axes::new(front, shape, strides);
        Events { data, element, n_rows: front.iter().product(), axes, memory: PhantomData }
    }

    /// How many distributions.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// How many events.
    pub fn n_events(&self) -> usize {
        self.axes.n_events
    }

    /// Whether all distributions are the same memory.
    pub fn is_one(&self) -> bool {
        self.axes.front.iter().all(|(_, stride)| *stride == 0)
    }

    fn check(&self, rows: &Range<usize>, events: &Range<usize>) {
        assert!(rows.start <= rows.end && rows.end <= self.n_rows);
        assert!(events.start <= events.end && events.end <= self.axes.n_events);
    }

    /// These events of these distributions, where they are numbers of T one after another.
    pub fn slice<T: Real>(&self, rows: Range<usize>, events: Range<usize>) -> Option<&'a [T]> {
        self.check(&rows, &events);
        let element = if size_of::<T>() == 4 { Element::F32 } else { Element::F64 };
        let n = rows.len() * events.len();
        if n == 0 || self.element != element || !self.axes.adjacent(&rows, &events, size_of::<T>()) {
            return None;
        }
        let offset = self.axes.offset(rows.start) + events.start as isize * self.axes.stride;
        // SAFETY: elements of the array, by `check`, which follow each other by `adjacent`; they are of T.
        Some(unsafe { std::slice::from_raw_parts(self.data.offset(offset).cast::<T>(), n) })
    }

    /// Writes these events of these distributions one after another.
    #[allow(clippy::unnecessary_cast, reason = "one body for eleven element types")]
    pub fn copy<T: Real>(&self, rows: Range<usize>, events: Range<usize>, to: &mut [T]) {
        self.check(&rows, &events);
        if events.is_empty() {
            return;
        }
        with_element!(self.element, E => {
            for (row, to) in rows.zip(to.chunks_exact_mut(events.len())) {
                let offset = self.axes.offset(row) + events.start as isize * self.axes.stride;
                // SAFETY: an element of the array, by `check`.
                let from = unsafe { self.data.offset(offset) };
                for (j, to) in to.iter_mut().enumerate() {
                    // SAFETY: as above; the element type is the array's.
                    let value = unsafe { from.offset(j as isize * self.axes.stride).cast::<E>().read() };
                    *to = T::of(value as f64);
                }
            }
        });
    }
}

/// A part of an array of results: these events of these distributions, which nobody else writes.
#[derive(Debug)]
pub struct EventsMut<'a, T> {
    data: *mut T,
    axes: Axes,
    rows: Range<usize>,
    events: Range<usize>,
    memory: PhantomData<&'a mut [T]>,
}

// SAFETY: parts are disjoint, and each is written through one owner.
unsafe impl<T: Send> Send for EventsMut<'_, T> {}

impl<T: Real> EventsMut<'_, T> {
    /// An array in memory that somebody else owns; strides are in bytes.
    ///
    /// # Safety
    /// For 'a, every element of the array is writable and aligned, and nobody else reads or writes it.
    pub unsafe fn new(data: *mut T, shape: &[usize], strides: &[isize]) -> Self {
        let front = &shape[..shape.len().saturating_sub(1)];
        let axes = Axes::new(front, shape, strides);
        let (rows, events) = (0..front.iter().product(), 0..axes.n_events);
        EventsMut { data, axes, rows, events, memory: PhantomData }
    }

    /// How many distributions.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// How many events.
    pub fn n_events(&self) -> usize {
        self.events.len()
    }

    /// Parts of that many distributions and events, in order.
    pub fn parts(self, n_rows: usize, n_events: usize) -> impl Iterator<Item = Self> {
        let columns = self.events.len().div_ceil(n_events.max(1));
        let n = self.rows.len().div_ceil(n_rows.max(1)) * columns;
        (0..n).map(move |i| self.part(i / columns * n_rows, n_rows, i % columns * n_events, n_events))
    }

    /// Up to so many distributions and events from there; `parts` takes none twice, and is the only one to call this.
    fn part(&self, row: usize, n_rows: usize, event: usize, n_events: usize) -> Self {
        let cut = |range: &Range<usize>, from: usize, n: usize| {
            let from = range.start + from;
            from..range.end.min(from + n)
        };
        let (rows, events) = (cut(&self.rows, row, n_rows), cut(&self.events, event, n_events));
        EventsMut { data: self.data, axes: self.axes.clone(), rows, events, memory: PhantomData }
    }

    fn check(&self, rows: &Range<usize>, events: &Range<usize>) {
        assert!(self.rows.start <= rows.start && rows.start <= rows.end && rows.end <= self.rows.end);
        assert!(
            self.events.start <= events.start && events.start <= events.end && events.end <= self.events.end
        );
    }

    /// These events of these distributions, where they follow each other.
    pub fn slice(&mut self, rows: Range<usize>, events: Range<usize>) -> Option<&mut [T]> {
        self.check(&rows, &events);
        let n = rows.len() * events.len();
        if n == 0 || !self.axes.adjacent(&rows, &events, size_of::<T>()) {
            return None;
        }
        let offset = self.axes.offset(rows.start) + events.start as isize * self.axes.stride;
        // SAFETY: elements of this part, by `check`, which follow each other by `adjacent`.
        Some(unsafe { std::slice::from_raw_parts_mut(self.data.byte_offset(offset), n) })
    }

    /// Sets these events of these distributions.
    pub fn set(&mut self, rows: Range<usize>, events: Range<usize>, from: &[T]) {
        self.check(&rows, &events);
        let mut from = from.iter();
        for row in rows {
            let offset = self.axes.offset(row);
            for (j, value) in events.clone().zip(&mut from) {
                // SAFETY: an element of this part, by `check`.
                unsafe { self.data.byte_offset(offset + j as isize * self.axes.stride).write(*value) };
            }
        }
    }
}
