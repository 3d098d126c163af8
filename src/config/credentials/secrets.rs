//! Keys, passwords and shared secrets: read at load, so that what is wrong with one is a fault of
//! the configuration, and read again when their files change.

use crate::config::Context;
use crate::config::read::Reader;
use crate::config::reference::material;
use crate::jws::{Algorithm, SigningKey};
use crate::secret::Secret;
use crate::secret::material::Material;

/// The key that signs, which must be of the kind that the algorithm needs.
pub(super) fn key(
    reader: &Reader<'_>,
    name: &str,
    algorithm: Algorithm,
    context: &Context<'_>,
) -> Option<Material<SigningKey>> {
    load(reader, name, context, move |secret| {
        SigningKey::parse(algorithm, secret).map_err(|error| error.to_string())
    })
}

/// A secret that is text.
pub(in crate::config) fn text(
    reader: &Reader<'_>,
    name: &str,
    context: &Context<'_>,
) -> Option<Material<Secret>> {
    load(reader, name, context, |secret| match secret.expose_str() {
        Some(text) => Ok(Secret::from(text.to_owned())),
        None => Err("it is not text".into()),
    })
}

fn load<T>(
    reader: &Reader<'_>,
    name: &str,
    context: &Context<'_>,
    parse: impl Fn(&Secret) -> Result<T, String> + Send + Sync + 'static,
) -> Option<Material<T>> {
    let node = reader.node(name)?;
    let place = format!("`{name}` in {}", reader.place());
    material(&place, &node, context, parse)
}
