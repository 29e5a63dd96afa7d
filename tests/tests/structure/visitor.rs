//! What the code inside an item mentions and calls.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Attribute, Expr, Ident, ImplItem, Item, Meta, Pat, Type, UseTree, visit::Visit};

use crate::{
    attributes::{is_for_tests, of_impl_item, of_item},
    facts::{Call, File, Impl, Mention, Module, Names, Receiver},
};

/// The line of a place in a file.
pub(crate) fn line(span: proc_macro2::Span) -> usize {
    span.start().line
}

fn names(path: &syn::Path) -> Names {
    let mut names: Names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    if path.leading_colon.is_some() {
        names.insert(0, String::new());
    }
    names
}

/// Reads what is inside an item.
pub(crate) struct Visitor<'a> {
    pub(crate) id: usize,
    pub(crate) module: &'a mut Module,
    pub(crate) file: &'a mut File,
    /// What `Self` is.
    pub(crate) own: Option<Names>,
    /// What is known of the variables of a function.
    pub(crate) locals: BTreeMap<String, Receiver>,
}

impl Visitor<'_> {
    fn mention(&mut self, path: Names, line: usize, is_glob: bool) {
        self.file.mentions.push(Mention { module: self.id, path, line, is_glob });
    }

    fn call(&mut self, receiver: Receiver, method: String, has_arguments: bool, line: usize) {
        self.file.calls.push(Call { module: self.id, receiver, method, has_arguments, line });
    }

    /// A path in code. One name alone was brought in by a `use`, which is a mention of its own.
    fn path(&mut self, path: Names, line: usize) {
        match (path.as_slice(), &self.own) {
            ([first, method], Some(own)) if first == "Self" => {
                self.call(Receiver::Type(own.clone()), method.clone(), true, line);
            }
            ([_, _, ..], _) => self.mention(path, line, false),
            _ => {}
        }
    }

    fn uses(&mut self, tree: &UseTree, mut prefix: Names) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.uses(&path.tree, prefix);
            }
            UseTree::Name(name) => self.import(prefix, &name.ident, &name.ident),
            UseTree::Rename(rename) => self.import(prefix, &rename.ident, &rename.rename),
            UseTree::Glob(glob) => {
                self.module.globs.push(prefix.clone());
                self.mention(prefix, line(glob.star_token.spans[0]), true);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.uses(tree, prefix.clone());
                }
            }
        }
    }

    fn import(&mut self, mut path: Names, name: &Ident, given: &Ident) {
        let mut given_name = given.to_string();
        if name == "self" {
            if given == "self" {
                given_name = path.last().cloned().unwrap_or_default();
            }
        } else {
            path.push(name.to_string());
        }
        // What a function imports for itself does not hide what the file has under this name.
        if given_name != "_" {
            self.module.imports.entry(given_name).or_insert_with(|| path.clone());
        }
        self.mention(path, line(name.span()), false);
    }

    fn variable(&self, name: &str) -> Receiver {
        match &self.own {
            Some(own) if name == "self" => Receiver::Type(own.clone()),
            _ => self.locals.get(name).cloned().unwrap_or_else(|| Receiver::Named(name.to_owned())),
        }
    }

    fn receiver(&self, expression: &Expr) -> Receiver {
        match expression {
            Expr::Path(path) => {
                path.path.get_ident().map_or(Receiver::Unknown, |name| self.variable(&name.to_string()))
            }
            Expr::Field(field) => match &field.member {
                syn::Member::Named(name) => Receiver::Named(name.to_string()),
                syn::Member::Unnamed(_) => Receiver::Unknown,
            },
            Expr::Paren(inner) => self.receiver(&inner.expr),
            Expr::Reference(inner) => self.receiver(&inner.expr),
            Expr::MethodCall(call) if call.method == "clone" => self.receiver(&call.receiver),
            // `Arc::clone(&engine)`
            Expr::Call(call) => match (&*call.func, call.args.first()) {
                (Expr::Path(path), Some(first)) if path.path.segments.last().unwrap().ident == "clone" => {
                    self.receiver(first)
                }
                _ => Receiver::Unknown,
            },
            _ => Receiver::Unknown,
        }
    }

    /// The type itself, without references and smart pointers.
    fn bare(&self, ty: &Type) -> Receiver {
        match ty {
            Type::Reference(reference) => self.bare(&reference.elem),
            Type::Paren(inner) => self.bare(&inner.elem),
            Type::Path(path) => {
                let last = path.path.segments.last().unwrap();
                if let ("Arc" | "Rc" | "Box", syn::PathArguments::AngleBracketed(arguments)) =
                    (last.ident.to_string().as_str(), &last.arguments)
                    && let Some(syn::GenericArgument::Type(inner)) = arguments.args.first()
                {
                    return self.bare(inner);
                }
                match &self.own {
                    Some(own) if path.path.is_ident("Self") => Receiver::Type(own.clone()),
                    _ => Receiver::Type(names(&path.path)),
                }
            }
            _ => Receiver::Unknown,
        }
    }

    fn typed(&mut self, pattern: &Pat, ty: &Type) {
        if let Pat::Ident(name) = pattern {
            self.locals.insert(name.ident.to_string(), self.bare(ty));
        }
    }

    fn parameters(&mut self, signature: &syn::Signature) {
        self.locals.clear();
        for input in &signature.inputs {
            if let syn::FnArg::Typed(input) = input {
                self.typed(&input.pat, &input.ty);
            }
        }
    }

    /// Finds paths and method calls in what a macro is given, whatever its grammar is.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, what: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == what);
        let is_colons = |at: usize| is(at, ':') && is(at + 1, ':');
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) if at >= 2 && is(at - 2, '.') && !(at >= 3 && is(at - 3, '.')) => {
                    let Some(TokenTree::Group(arguments)) = tokens.get(at) else { continue };
                    if arguments.delimiter() == Delimiter::Parenthesis {
                        let receiver = match at.checked_sub(3).map(|before| &tokens[before]) {
                            Some(TokenTree::Ident(name)) => self.variable(&name.to_string()),
                            _ => Receiver::Unknown,
                        };
                        let has_arguments = !arguments.stream().is_empty();
                        self.call(receiver, first.to_string(), has_arguments, line(first.span()));
                    }
                }
                TokenTree::Ident(first) => {
                    let mut path = vec![first.to_string()];
                    while is_colons(at) {
                        let Some(TokenTree::Ident(next)) = tokens.get(at + 2) else { break };
                        path.push(next.to_string());
                        at += 3;
                    }
                    self.path(path, line(first.span()));
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(of_item(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !is_for_tests(of_impl_item(item)) {
            syn::visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let prefix = if item.leading_colon.is_some() { vec![String::new()] } else { Names::new() };
        self.uses(&item.tree, prefix);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let own = match self.bare(&item.self_ty) {
            Receiver::Type(path) => Some(path),
            _ => None,
        };
        if let (Some(on), None) = (&own, &item.trait_) {
            let items = item.items.iter().filter(|item| !is_for_tests(of_impl_item(item)));
            let methods = items.filter_map(|item| match item {
                ImplItem::Fn(method) => Some(method.sig.ident.to_string()),
                _ => None,
            });
            let methods = methods.collect();
            self.file.impls.push(Impl { module: self.id, on: on.clone(), methods });
        }
        let outer = std::mem::replace(&mut self.own, own);
        syn::visit::visit_item_impl(self, item);
        self.own = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let outer = self.locals.clone();
        self.parameters(&item.sig);
        syn::visit::visit_item_fn(self, item);
        self.locals = outer;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.parameters(&item.sig);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_pat_type(&mut self, pattern: &'ast syn::PatType) {
        self.typed(&pattern.pat, &pattern.ty);
        syn::visit::visit_pat_type(self, pattern);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        syn::visit::visit_local(self, local);
        if let (Pat::Ident(name), Some(start)) = (&local.pat, &local.init) {
            match self.receiver(&start.expr) {
                Receiver::Unknown => self.locals.remove(&name.ident.to_string()),
                receiver => self.locals.insert(name.ident.to_string(), receiver),
            };
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let receiver = self.receiver(&call.receiver);
        self.call(receiver, call.method.to_string(), !call.args.is_empty(), line(call.method.span()));
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(names(path), line(path.segments[0].ident.span()));
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }

    // `pub(in crate::engine)` takes nothing from there.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}
