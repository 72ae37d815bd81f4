//! A walk over the events of one key, through all layers, piece by piece.

use crate::format::table::Kind;
use crate::index::IndexError;
use crate::index::key::Key;
use crate::index::list::{Bound, Item};
use crate::index::view::{Piece, View};
use crate::model::Position;

/// The events of a key that are still to come: for each its ordinal and its position.
#[derive(Debug)]
pub(crate) struct Postings {
    view: View,
    kind: Kind,
    text: String,
    hash: u64,
    bound: Bound,
    /// Pieces to come, the next one last.
    pieces: Vec<Piece>,
    /// The layer to look in when the pieces are used up; only backwards through a stream.
    next_layer: Option<usize>,
    /// Items to come, the next one last.
    items: Vec<Item>,
}

impl Postings {
    pub(super) fn open(
        view: View,
        key: Key<'_>,
        bound: Bound,
        with_ordinals: bool,
    ) -> Result<Self, IndexError> {
        let (kind, text) = (key.kind(), key.text());
        let mut postings = Self {
            hash: view.shared.hasher.hash(kind.byte(), text.as_bytes()),
            view,
            kind,
            text: text.to_owned(),
            bound,
            pieces: Vec::new(),
            next_layer: None,
            items: Vec::new(),
        };
        // A stream's ordinals are known everywhere, so older layers can wait until they are needed.
        let counts = with_ordinals && postings.kind != Kind::Stream;
        if bound.is_forwards() || counts {
            postings.collect(counts)?;
        } else {
            postings.next_layer = Some(0);
        }
        Ok(postings)
    }

    /// Finds all pieces beforehand. `counts`: ordinals go on from older layers, all are needed.
    fn collect(&mut self, counts: bool) -> Result<(), IndexError> {
        for layer in 0..self.view.layers.len() {
            if !counts && self.ends_before(layer) {
                break;
            }
            let Some(piece) = self.view.piece(layer, self.kind, &self.text, self.hash)? else {
                continue;
            };
            let first = piece.ends.map(|(first, _)| first);
            self.pieces.push(piece);
            // What lies before the first event of a stream, or of what is wanted, is not needed.
            let complete = |ordinal: u64| match self.bound {
                Bound::OrdinalFrom(from) => ordinal <= from,
                _ => ordinal == 0,
            };
            if self.kind == Kind::Stream && first.is_some_and(complete) {
                break;
            }
        }
        if counts {
            let mut base = 0;
            for piece in self.pieces.iter_mut().rev() {
                piece.base = base;
                base += piece.span;
            }
        }
        if !self.bound.is_forwards() {
            self.pieces.reverse();
        }
        Ok(())
    }

    /// Whether this layer and all older ones end before the wanted positions.
    fn ends_before(&self, layer: usize) -> bool {
        match self.bound {
            Bound::From(from) => self.view.layer_end(layer) <= from,
            _ => false,
        }
    }

    /// The next events, at most `max`, in the direction of the walk; none at its end.
    ///
    /// # Errors
    /// The disk's, and [`IndexError::Rebuilding`] while the answer may lie in a missing table.
    pub(crate) fn next_chunk(&mut self, max: usize) -> Result<Vec<(u64, Position)>, IndexError> {
        while self.items.is_empty() {
            let Some(piece) = self.next_piece()? else {
                return Ok(Vec::new());
            };
            let mut items =
                piece.items(&self.view, (self.kind, &self.text, self.hash), self.bound)?;
            match (items.first(), items.last()) {
                (Some((_, first)), Some((_, last))) => {
                    self.bound = match self.bound.is_forwards() {
                        true => Bound::From(last + 1),
                        false => Bound::Before(*first),
                    };
                    self.pieces.push(piece);
                    if self.bound.is_forwards() {
                        items.reverse();
                    }
                    self.items = items;
                }
                _ => continue,
            }
        }
        let rest = self.items.len().saturating_sub(max.max(1));
        let chunk = self.items.drain(rest..).rev();
        Ok(chunk.map(|(ordinal, at)| (ordinal, Position(at))).collect())
    }

    fn next_piece(&mut self) -> Result<Option<Piece>, IndexError> {
        if let Some(piece) = self.pieces.pop() {
            return Ok(Some(piece));
        }
        while let Some(layer) = self.next_layer.filter(|at| *at < self.view.layers.len()) {
            let piece = self.view.piece(layer, self.kind, &self.text, self.hash)?;
            let begins = piece.as_ref().and_then(|piece| piece.ends);
            self.next_layer = match begins {
                Some((0, _)) if self.kind == Kind::Stream => None,
                _ => Some(layer + 1),
            };
            if piece.is_some() {
                return Ok(piece);
            }
        }
        Ok(None)
    }
}
