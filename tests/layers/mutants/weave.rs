//! Puts all changes into a copy of the source, each behind a switch. What cannot be put there (in a
//! constant, in a chain of `let`) is left out, and for cargo-mutants itself.

use std::collections::HashMap;
use std::path::Path;

use proc_macro2::LineColumn;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, UnOp};

use crate::Change;

/// The functions of `switch.rs`, and the operators that they change theirs to, in their order.
const OPERATORS: [(&str, &str, &[&str]); 16] = [
    ("==", "eq", &["!="]),
    ("!=", "ne", &["=="]),
    ("<", "lt", &["==", ">", "<="]),
    (">", "gt", &["==", "<", ">="]),
    ("<=", "le", &[">"]),
    (">=", "ge", &["<"]),
    ("+", "add", &["-", "*"]),
    ("-", "sub", &["+", "/"]),
    ("*", "mul", &["+", "/"]),
    ("/", "div", &["%", "*"]),
    ("%", "rem", &["/", "+"]),
    ("&", "and", &["|", "^"]),
    ("|", "or", &["&", "^"]),
    ("^", "xor", &["|", "&"]),
    ("<<", "shl", &[">>"]),
    (">>", "shr", &["<<"]),
];

type At = (usize, usize);

/// Text that is put in at a place, in the stead of some bytes.
struct Edit {
    at: usize,
    len: usize,
    /// What ends at a place comes before what begins there, the inner before the outer.
    order: (u8, isize),
    text: String,
}

struct Weaver<'a> {
    source: &'a str,
    lines: Vec<usize>,
    /// By genre and place.
    changes: HashMap<(&'a str, At), Vec<&'a Change>>,
    depth: isize,
    edits: Vec<Edit>,
    woven: Vec<u32>,
}

/// Puts the changes of one file into it. Gives its text, and which changes are in it.
pub fn weave(path: &Path, source: &str, changes: &[&Change]) -> (String, Vec<u32>) {
    let file = syn::parse_file(source).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut by_place: HashMap<(&str, At), Vec<&Change>> = HashMap::new();
    for change in changes {
        let key = (&*change.genre, change.start);
        by_place.entry(key).or_default().push(change);
    }
    let mut lines = vec![0];
    lines.extend(source.match_indices('\n').map(|(at, _)| at + 1));
    let mut weaver = Weaver {
        source,
        lines,
        changes: by_place,
        depth: 1,
        edits: Vec::new(),
        woven: Vec::new(),
    };
    weaver.visit_file(&file);
    let mut edits = weaver.edits;
    edits.sort_by_key(|edit| (edit.at, edit.order));
    let (mut text, mut at) = (String::new(), 0);
    for edit in edits {
        text.push_str(&source[at..edit.at.max(at)]);
        text.push_str(&edit.text);
        at = at.max(edit.at + edit.len);
    }
    text.push_str(&source[at..]);
    (text, weaver.woven)
}

impl<'a> Weaver<'a> {
    fn offset(&self, (line, column): At) -> usize {
        let start = self.lines[line - 1];
        let rest = self.source[start..].char_indices().nth(column - 1);
        rest.map_or(self.source.len(), |(at, _)| start + at)
    }

    fn begin(&mut self, at: usize, text: String) {
        let order = (2, self.depth);
        self.edits.push(Edit {
            at,
            len: 0,
            order,
            text,
        });
    }

    fn end(&mut self, at: usize, text: &str) {
        let (order, text) = ((0, -self.depth), text.to_owned());
        self.edits.push(Edit {
            at,
            len: 0,
            order,
            text,
        });
    }

    fn replace(&mut self, at: usize, len: usize, text: String) {
        let order = (1, self.depth);
        self.edits.push(Edit {
            at,
            len,
            order,
            text,
        });
    }

    fn take(&mut self, genre: &str, at: At) -> Vec<&'a Change> {
        let key = self
            .changes
            .keys()
            .find(|key| **key == (genre, at))
            .copied();
        let found = key.and_then(|key| self.changes.remove(&key));
        let found = found.unwrap_or_default();
        self.woven.extend(found.iter().map(|change| change.number));
        found
    }

    fn range(&self, node: &impl Spanned) -> (usize, usize) {
        let span = node.span();
        (
            self.offset(place(span.start())),
            self.offset(place(span.end())),
        )
    }

    fn binary(&mut self, binary: &syn::ExprBinary) {
        let at = place(binary.op.span().start());
        let operator = &self.source[self.range(&binary.op).0..self.range(&binary.op).1];
        let (operator, assigns) = match operator.strip_suffix('=') {
            Some(operator) if is_assignment(&binary.op) => (operator, true),
            _ => (operator, false),
        };
        let (left, right, op) = (
            self.range(&binary.left),
            self.range(&binary.right),
            self.range(&binary.op),
        );
        if matches!(operator, "&&" | "||") {
            if has_let(&binary.left) || has_let(&binary.right) {
                return;
            }
            if let [change] = self.take("BinaryOperator", at)[..] {
                let same = if operator == "&&" { "!=" } else { "==" };
                let number = change.number;
                self.begin(left.0, "(match ".into());
                let text = format!("{{ l__ => if l__ {same} crate::mt::on({number}) {{ ");
                self.replace(op.0, op.1 - op.0, text);
                self.end(right.1, " } else { l__ } })");
            }
            return;
        }
        let Some((_, function, others)) = OPERATORS.iter().find(|one| one.0 == operator) else {
            return;
        };
        let target = &self.source[left.0..left.1];
        if assigns && target.contains('(') {
            return;
        }
        let changes = self.take("BinaryOperator", at);
        if changes.is_empty() {
            return;
        }
        let suffix = if assigns { "=" } else { "" };
        let number = |other: &&str| {
            let found = changes
                .iter()
                .find(|one| one.replacement == format!("{other}{suffix}"));
            found.map_or("crate::mt::NONE".to_owned(), |one| one.number.to_string())
        };
        let numbers: Vec<String> = others.iter().map(number).collect();
        let call = format!("crate::mt::{function}([{}], ", numbers.join(", "));
        let compares = others.contains(&"==") || others.contains(&"!=") || function.ends_with('e');
        if assigns {
            let text = format!("= {call}{target}, ");
            self.replace(op.0, op.1 - op.0, text);
            self.end(right.1, ")");
        } else if compares {
            self.begin(left.0, format!("{call}&("));
            self.replace(op.0, op.1 - op.0, "), &(".into());
            self.end(right.1, "))");
        } else {
            self.begin(left.0, call);
            self.replace(op.0, op.1 - op.0, ", ".into());
            self.end(right.1, ")");
        }
    }

    fn bodies(&mut self, block: &syn::Block) {
        let Some(first) = block.stmts.first() else {
            return;
        };
        let (at, start) = (place(first.span().start()), self.range(first).0);
        for change in self.take("FnValue", at) {
            let text = format!(
                "if crate::mt::on({}) {{ return {}; }} ",
                change.number, change.replacement
            );
            let order = (2, 0);
            self.edits.push(Edit {
                at: start,
                len: 0,
                order,
                text,
            });
        }
    }
}

impl<'ast> Visit<'ast> for Weaver<'_> {
    fn visit_expr(&mut self, node: &'ast Expr) {
        self.depth += 1;
        visit::visit_expr(self, node);
        self.depth -= 1;
    }

    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        self.binary(node);
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        let function = match node.op {
            UnOp::Not(_) => "not",
            _ => "neg",
        };
        if let [change] = self.take("UnaryOperator", place(node.op.span().start()))[..] {
            let (op, whole) = (self.range(&node.op), self.range(node));
            let text = format!("crate::mt::{function}([{}], ", change.number);
            self.begin(whole.0, text);
            self.replace(op.0, op.1 - op.0, String::new());
            self.end(whole.1, ")");
        }
        visit::visit_expr_unary(self, node);
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        let dropped = self.take("MatchArm", place(node.span().start()));
        let dropped = dropped.first().map(|change| change.number);
        match &node.guard {
            None => {
                if let Some(number) = dropped {
                    let end = self.range(&node.pat).1;
                    self.end(end, &format!(" if !crate::mt::on({number})"));
                }
            }
            Some((_, guard)) => {
                let range = self.range(&**guard);
                let changes = self.take("MatchArmGuard", place(guard.span().start()));
                let mut text = dropped.map_or(String::new(), |number| {
                    format!("!crate::mt::on({number}) && ")
                });
                text.push('(');
                for change in changes {
                    let (number, value) = (change.number, &change.replacement);
                    text += &format!("if crate::mt::on({number}) {{ {value} }} else ");
                }
                text.push_str("{ ");
                self.begin(range.0, text);
                self.end(range.1, " })");
            }
        }
        visit::visit_arm(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        for field in &node.fields {
            let at = place(field.span().start());
            let Some(base) = &node.rest else { continue };
            if let [change] = self.take("StructField", at)[..] {
                let base = self.range(&**base);
                let (base, member) = (
                    &self.source[base.0..base.1],
                    &self.source[self.range(&field.member).0..self.range(&field.member).1],
                );
                let value = self.range(&field.expr);
                let name = match field.colon_token {
                    Some(_) => String::new(),
                    None => format!("{member}: "),
                };
                let number = change.number;
                let text =
                    format!("{name}if crate::mt::on({number}) {{ ({base}).{member} }} else {{ ");
                self.begin(value.0, text);
                self.end(value.1, " }");
            }
        }
        visit::visit_expr_struct(self, node);
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        if node.sig.constness.is_none() {
            self.bodies(&node.block);
            visit::visit_item_fn(self, node);
        }
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        if node.sig.constness.is_none() {
            self.bodies(&node.block);
            visit::visit_impl_item_fn(self, node);
        }
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.bodies(block);
        }
        visit::visit_trait_item_fn(self, node);
    }

    fn visit_expr_repeat(&mut self, node: &'ast syn::ExprRepeat) {
        self.visit_expr(&node.expr);
    }

    // Constants are computed before anything can be switched on.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
}

/// Lines and columns from 1, as cargo-mutants counts.
fn place(at: LineColumn) -> At {
    (at.line, at.column + 1)
}

fn is_assignment(op: &BinOp) -> bool {
    !matches!(
        op,
        BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Le(_) | BinOp::Ge(_)
    )
}

fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}
