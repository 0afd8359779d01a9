//! The attribute of [raincheck](https://docs.rs/raincheck); use it as `#[raincheck::task]`, where it is documented.

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Error, Expr, ExprLit, FnArg, GenericParam, Ident, ItemFn, Lit, MetaNameValue, Pat, Result, ReturnType, Type,
    ext::IdentExt, parse::Parser, punctuated::Punctuated, spanned::Spanned,
};

/// Makes a function a task, which can be called on any executor. See `raincheck::task`.
#[proc_macro_attribute]
pub fn task(options: TokenStream, function: TokenStream) -> TokenStream {
    let written = Tokens::from(function.clone());
    match expand(options.into(), function) {
        Ok(tokens) => tokens.into(),
        // The function stays, so that nothing else is reported than what is wrong with it.
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#written #error).into()
        }
    }
}

fn expand(options: Tokens, function: TokenStream) -> Result<Tokens> {
    let function: ItemFn = syn::parse(function).map_err(|error| {
        Error::new(error.span(), "`#[raincheck::task]` goes on a function: `fn name(…) -> T { … }`")
    })?;
    let name = name_option(options)?;
    check(&function)?;
    let parameters = function.sig.inputs.iter().enumerate().map(Parameter::read).collect::<Result<Vec<_>>>()?;
    Ok(task_of(&function, name, &parameters))
}

/// Reads `name = "…"`, the only option there is.
fn name_option(options: Tokens) -> Result<Option<String>> {
    let options = Punctuated::<MetaNameValue, syn::Token![,]>::parse_terminated.parse2(options).map_err(|error| {
        Error::new(error.span(), "the only option is `name`: `#[raincheck::task(name = \"images.thumbnail\")]`")
    })?;
    let mut name = None;
    for option in options {
        match &option.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. })
                if option.path.is_ident("name") && !text.value().is_empty() =>
            {
                name = Some(text.value());
            }
            _ => {
                let message = "the only option is `name`: `#[raincheck::task(name = \"images.thumbnail\")]`";
                return Err(Error::new(option.span(), message));
            }
        }
    }
    Ok(name)
}

/// Refuses what cannot be called from elsewhere, with the way out.
fn check(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    let refuse = |tokens: &dyn ToTokens, message: &str| Err(Error::new_spanned(tokens.to_token_stream(), message));
    if let Some(parameter) = signature.generics.params.iter().find(|it| !matches!(it, GenericParam::Lifetime(_))) {
        return refuse(
            parameter,
            "a task cannot be generic, since it is found by its name: write a task for each type that calls this function",
        );
    }
    if let Some(unsafety) = &signature.unsafety {
        return refuse(unsafety, "a task cannot be unsafe: write a safe function around it that is the task");
    }
    if let Some(abi) = &signature.abi {
        return refuse(abi, "a task is a plain Rust function: write one that calls this function");
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "a task has a fixed number of arguments");
    }
    if let ReturnType::Type(_, output) = &signature.output
        && let Type::ImplTrait(_) | Type::Reference(_) = &**output
    {
        return refuse(output, "a task returns an owned type that can be named: its value outlives the call");
    }
    Ok(())
}

/// One parameter of the function, and the argument that is kept for it.
struct Parameter {
    name: Ident,
    /// What it is called where the function is called: a name that hides nothing, the function's least of all.
    argument: Ident,
    /// What is kept: the type itself, or what owns what it refers to. `None` for the context, which is not kept.
    kept: Option<Type>,
    /// What `call` takes.
    taken: Tokens,
    /// What makes the one of the other, and what the function is given.
    keep: Tokens,
    give: Tokens,
}

impl Parameter {
    fn read((place, parameter): (usize, &FnArg)) -> Result<Self> {
        let FnArg::Typed(parameter) = parameter else {
            let message = "a task cannot be a method, since it is found by its name: make it a function of its own";
            return Err(Error::new_spanned(parameter, message));
        };
        let Pat::Ident(pattern) = &*parameter.pat else {
            let message = "an argument of a task has a name: take the pattern apart in the body";
            return Err(Error::new_spanned(&parameter.pat, message));
        };
        let name = pattern.ident.clone();
        let argument = format_ident!("argument_{place}", span = Span::mixed_site());
        match &*parameter.ty {
            Type::ImplTrait(ty) => {
                Err(Error::new_spanned(ty, "an argument of a task has one type: name the type in place of `impl`"))
            }
            Type::Reference(reference) if reference.mutability.is_some() => {
                let message = "a task cannot change its caller's value: take it owned, and return it";
                Err(Error::new_spanned(reference, message))
            }
            Type::Reference(reference) => Ok(Self::of_reference(name, argument, &reference.elem)),
            ty => {
                let (taken, keep, give) = (quote!(#ty), quote!(#name), quote!(#argument));
                Ok(Self { kept: Some(ty.clone()), taken, keep, give, name, argument })
            }
        }
    }

    /// A parameter that is a reference: what it refers to is kept, owned.
    fn of_reference(name: Ident, argument: Ident, ty: &Type) -> Self {
        let last = match ty {
            Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let kept: Type = match (ty, last.as_deref()) {
            (_, Some("Context")) => {
                return Self {
                    kept: None,
                    taken: Tokens::new(),
                    keep: Tokens::new(),
                    give: quote!(&::raincheck::Context::new()),
                    name,
                    argument,
                };
            }
            (_, Some("str")) => syn::parse_quote!(::std::string::String),
            (_, Some("Path")) => syn::parse_quote!(::std::path::PathBuf),
            (Type::Slice(slice), _) => {
                let of = &slice.elem;
                syn::parse_quote!(::std::vec::Vec<#of>)
            }
            _ => ty.clone(),
        };
        let is_owned = kept == *ty;
        Self {
            taken: if is_owned { quote!(#kept) } else { quote!(impl ::std::convert::Into<#kept>) },
            keep: if is_owned { quote!(#name) } else { quote!(::std::convert::Into::into(#name)) },
            give: quote!(&#argument),
            kept: Some(kept),
            name,
            argument,
        }
    }
}

/// The function as it stands, and the type beside it that knows it.
fn task_of(function: &ItemFn, name: Option<String>, parameters: &[Parameter]) -> Tokens {
    let signature = &function.sig;
    let ident = &signature.ident;
    let vis = &function.vis;
    let output = match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => quote!(#output),
    };
    let kept: Vec<&Parameter> = parameters.iter().filter(|parameter| parameter.kept.is_some()).collect();
    let names: Vec<&Ident> = kept.iter().map(|parameter| &parameter.name).collect();
    let arguments: Vec<&Ident> = kept.iter().map(|parameter| &parameter.argument).collect();
    let types: Vec<&Type> = kept.iter().filter_map(|parameter| parameter.kept.as_ref()).collect();
    let taken = kept.iter().map(|parameter| &parameter.taken);
    let taken: Vec<Tokens> = names.iter().zip(taken).map(|(name, taken)| quote!(#name: #taken)).collect();
    let keep: Vec<&Tokens> = kept.iter().map(|parameter| &parameter.keep).collect();
    let give: Vec<&Tokens> = parameters.iter().map(|parameter| &parameter.give).collect();
    let texts: Vec<String> = names.iter().map(|name| name.unraw().to_string()).collect();

    let written = {
        let parameters = names.iter().zip(&types).map(|(name, ty)| format!("{name}: {}", ty.to_token_stream()));
        format!("fn({}) -> {output}", parameters.collect::<Vec<_>>().join(", "))
    };
    let name = match name {
        Some(name) => quote!(#name),
        None => {
            let ident = ident.unraw().to_string();
            quote!(::std::concat!(::std::module_path!(), "::", #ident))
        }
    };
    let is_async = signature.asyncness.is_some();
    let start = if is_async {
        quote!(::raincheck::__private::Begun::Future(::std::boxed::Box::pin(async move { #ident(#(#give),*).await })))
    } else {
        quote!(::raincheck::__private::Begun::Value(#ident(#(#give),*)))
    };
    let are_portable = types.iter().map(|ty| quote_spanned!(ty.span()=> is_portable::<#ty>();));
    let type_doc = format!("The task `{ident}`: its calls, as values. Added by `#[raincheck::task]`.");

    quote! {
        #function

        #[doc = #type_doc]
        #[allow(non_camel_case_types, dead_code)]
        #vis struct #ident {}

        #[allow(dead_code, clippy::too_many_arguments)]
        impl #ident {
            /// Returns the call with these arguments, which can be submitted to any executor.
            #vis fn call(#(#taken),*) -> ::raincheck::Call<Self> {
                ::raincheck::Call::new((#(#keep,)*))
            }

            /// Returns the function as such, which can be mapped over inputs on any executor.
            #vis fn task() -> ::raincheck::TaskOf<Self> {
                ::raincheck::TaskOf::new()
            }

            /// Submits the call with these arguments to the program's own pool.
            #vis fn submit(#(#taken),*) -> ::raincheck::TaskFuture<#output> {
                ::raincheck::submit(::raincheck::Call::<Self>::new((#(#keep,)*)))
            }
        }

        #[allow(deprecated)]
        impl ::raincheck::TaskFunction for #ident {
            type Args = (#(#types,)*);
            type Output = #output;
            const NAME: &'static str = #name;
            const SIGNATURE: &'static str = #written;
            const PARAMETERS: &'static [&'static str] = &[#(#texts),*];
            const ASYNC: bool = #is_async;

            fn start((#(#arguments,)*): Self::Args) -> ::raincheck::__private::Begun<Self::Output> {
                #start
            }

            ::raincheck::__carried!(#ident, #output);
        }

        ::raincheck::__registered!(#ident);

        const _: fn() = || {
            #[allow(dead_code)]
            fn is_portable<T: ::raincheck::Portable>() {}
            #(#are_portable)*
        };
    }
}
