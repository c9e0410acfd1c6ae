//! What a bundle says of models that this configuration does not have: a misspelt name is valid and does nothing. A bundle
//! may be written for several gateways, so this is remarked upon and refuses nothing; what no call could be routed by is a
//! mistake ([`Config::check_routes`]).

use std::collections::BTreeSet;

use tollgate_gateway::{ProviderKind, ProviderSettings};
use tollgate_policy::Bundle;
use tollgate_policy::bundle::{BundleError as SourceError, Mention, Naming};
use tollgate_policy::suggestion;
use tollgate_provider::preset::Api;
use tollgate_provider::price::Catalog;

use crate::Config;

impl Config {
    /// What is allowed in a bundle and hardly meant, as far as only this configuration and its prices can tell: names of models
    /// that nothing here has, and a chat model where vectors are wanted. In the order of the bundle.
    #[must_use]
    pub fn remarks_on(&self, bundle: &Bundle, catalog: &Catalog) -> Vec<SourceError> {
        let known = Known::of(self, bundle, catalog);
        let mut remarks: Vec<SourceError> = Vec::new();
        for mention in bundle.mentions() {
            let Some(message) = known.remark(mention) else { continue };
            let remark = SourceError { line: mention.line, column: mention.column, message };
            if !remarks.contains(&remark) {
                remarks.push(remark);
            }
        }
        remarks.sort_by_key(|remark| (remark.line, remark.column));
        remarks
    }
}

/// The models that calls can name.
struct Known<'a> {
    config: &'a Config,
    catalog: &'a Catalog,
    providers: Vec<ProviderSettings>,
    /// Aliases of the configuration and of the bundle's routes, and bare names that mean one thing only.
    plain: BTreeSet<String>,
    /// Every name there is, to find the one that was meant.
    names: Vec<String>,
}

/// A model at a provider of this configuration.
struct Placed<'a> {
    provider: &'a ProviderSettings,
    model: &'a str,
}

impl<'a> Known<'a> {
    fn of(config: &'a Config, bundle: &Bundle, catalog: &'a Catalog) -> Known<'a> {
        let providers = config.gateway_settings([0; 32], String::new()).providers;
        let of_bundle = bundle.routes().iter().map(|route| route.alias.clone());
        let mut plain: BTreeSet<String> = config.models.keys().cloned().chain(of_bundle).collect();
        let listed: Vec<&String> = providers.iter().flat_map(|provider| provider.models.iter().flatten()).collect();
        let is_only = |model: &&&String| listed.iter().filter(|other| other == model).count() == 1;
        plain.extend(listed.iter().filter(is_only).map(|model| (*model).clone()));
        let mut names: Vec<String> = plain.iter().cloned().collect();
        names.extend(config.targets().into_iter().map(|target| target.name));
        Known { config, catalog, providers, plain, names }
    }

    /// What is to be said of a name; `None` if nothing is.
    fn remark(&self, mention: &Mention) -> Option<String> {
        let Mention { naming, rule, name, .. } = mention;
        match naming {
            Naming::Allowed => match name.strip_suffix('*') {
                Some(prefix) => self.remark_on_prefix(rule, prefix),
                None => self.remark_on_name(name, &format!("rule `{rule}` allows")),
            },
            Naming::Counted => self.remark_on_name(name, &format!("`{rule}` is about")),
            Naming::Shadow => self.remark_on_name(name, &format!("route `{rule}` copies calls to")),
            Naming::Divided => {
                let what = "which no call can name, so that nobody takes part";
                let unknown =
                    || format!("experiment `{rule}` divides the calls to `{name}`, {what}{}", self.meant(name));
                (!self.is_callable(name)).then(unknown)
            }
            // A route makes an alias of its own, unless it was to take the calls of another.
            Naming::Routed => {
                let others = self.config.models.keys().map(String::as_str);
                let close = suggestion::closest(name, others).filter(|_| !self.config.models.contains_key(name))?;
                Some(format!(
                    "route `{rule}` makes an alias `{name}` of its own; did you mean `{close}`, which the configuration has?"
                ))
            }
            Naming::Target => self.placed(name).and_then(|placed| self.remark_on_price(&placed)),
            Naming::Embeddings => self.remark_on_embeddings(name),
        }
    }

    fn remark_on_name(&self, name: &str, what: &str) -> Option<String> {
        if self.plain.contains(name) {
            return None;
        }
        match self.placed(name) {
            Some(placed) => self.remark_on_price(&placed),
            None => Some(format!(
                "{what} `{name}`, which is neither an alias nor a model of a configured provider{}",
                self.meant(name)
            )),
        }
    }

    fn remark_on_prefix(&self, rule: &str, prefix: &str) -> Option<String> {
        let is_of = |name: &str| name.starts_with(prefix);
        if self.plain.iter().any(|name| is_of(name)) {
            return None;
        }
        let nothing = |meant: String| {
            Some(format!("rule `{rule}` allows `{prefix}*`, and no model that is known here begins so{meant}"))
        };
        let Some((named, rest)) = prefix.split_once('/') else {
            let of_provider = self.providers.iter().any(|provider| is_of(&provider.name));
            return if of_provider { None } else { nothing(self.meant(prefix)) };
        };
        let Some(provider) = self.providers.iter().find(|provider| provider.name == named) else {
            let meant = suggestion::closest(named, self.providers.iter().map(|provider| provider.name.as_str()));
            return nothing(meant.map(|meant| format!("; did you mean `{meant}/{rest}*`?")).unwrap_or_default());
        };
        let models = self.models_of(provider);
        if models.is_empty() || models.iter().any(|model| model.starts_with(rest)) {
            return None;
        }
        // The beginnings of the same length, of which one may have been meant.
        let beginnings: BTreeSet<String> =
            models.iter().map(|model| model.chars().take(rest.chars().count()).collect()).collect();
        let meant = suggestion::closest(rest, beginnings.iter().map(String::as_str));
        nothing(meant.map(|meant| format!("; did you mean `{named}/{meant}*`?")).unwrap_or_default())
    }

    /// A model that its provider would be asked for, and that the price list does not have.
    fn remark_on_price(&self, placed: &Placed<'_>) -> Option<String> {
        let Placed { provider, model } = placed;
        let list = price_list(provider);
        let is_listed = provider.models.is_some() || self.catalog.models(list).next().is_none();
        if is_listed || self.catalog.limits(list, model).is_some() {
            return None;
        }
        let name = &provider.name;
        let meant = suggestion::closest(model, self.catalog.models(list));
        let meant = meant.map(|meant| format!("; did you mean `{name}/{meant}`?")).unwrap_or_default();
        let list = Catalog::provider_name(list);
        Some(format!(
            "the prices of `{list}` know no model `{model}`, so that `{name}/{model}` is misspelt, or no budget counts its \
             calls{meant}"
        ))
    }

    /// A model that answers with texts where vectors are wanted.
    fn remark_on_embeddings(&self, name: &str) -> Option<String> {
        let mut targets: Vec<&str> = Vec::new();
        self.targets_of(name, &mut targets);
        let wrong = targets.into_iter().find_map(|target| {
            let placed = self.placed(target)?;
            Some((target, self.no_embeddings(&placed)?))
        });
        let Some((target, why)) = wrong else {
            return self.placed(name).and_then(|placed| self.remark_on_price(&placed));
        };
        let by = if target == name { ",".to_owned() } else { format!(", which `{name}` stands for,") };
        Some(format!(
            "the cache is to find questions by the vectors of `{target}`{by} and {why}; without vectors only the very same \
             request is found{}",
            self.embedding_instead()
        ))
    }

    /// Why a model gives no vectors, where that is known.
    fn no_embeddings(&self, Placed { provider, model }: &Placed<'_>) -> Option<String> {
        let lacks = match provider.kind {
            ProviderKind::Anthropic | ProviderKind::Bedrock => true,
            _ => provider.has.as_ref().is_some_and(|has| !has.contains(&Api::Embeddings)),
        };
        if lacks {
            return Some(format!("the gateway can ask its provider `{}` for none", provider.name));
        }
        // A model that makes vectors writes nothing, so nothing it writes has a price.
        let writes = self.catalog.output_price(price_list(provider), model)?;
        (writes > tollgate_interaction::Usd::ZERO)
            .then(|| "by the price list that is a model for chat, not for embeddings".to_owned())
    }

    /// An embedding model of a configured provider, to name one.
    fn embedding_instead(&self) -> String {
        let of = |provider: &ProviderSettings| {
            let models = self.models_of(provider);
            let model = models.into_iter().find(|model| {
                let placed = Placed { provider, model };
                model.contains("embed") && self.no_embeddings(&placed).is_none()
            })?;
            Some(format!("{}/{model}", provider.name))
        };
        // The sandbox's vectors are good for trying things out.
        let real = self.providers.iter().filter(|provider| provider.kind != ProviderKind::Sandbox);
        real.filter_map(of).next().map(|model| format!("; write one such as `{model}`")).unwrap_or_default()
    }

    /// The targets that a name stands for.
    fn targets_of<'n>(&'n self, name: &'n str, found: &mut Vec<&'n str>) {
        let Some(alias) = self.config.models.get(name) else {
            if !found.contains(&name) {
                found.push(name);
            }
            return;
        };
        // A configuration whose aliases lead in a circle is refused when it is read.
        for target in &alias.targets {
            self.targets_of(&target.value.target, found);
        }
    }

    fn is_callable(&self, name: &str) -> bool {
        self.plain.contains(name) || self.placed(name).is_some()
    }

    /// `provider/model`, if there is the provider and it may be asked for the model.
    fn placed<'n>(&'n self, name: &'n str) -> Option<Placed<'n>> {
        let (named, model) = name.split_once('/')?;
        let provider = self.providers.iter().find(|provider| provider.name == named)?;
        let offers = provider.models.as_ref().is_none_or(|listed| listed.iter().any(|known| known == model));
        (offers && !model.is_empty()).then_some(Placed { provider, model })
    }

    /// Models that a provider lists or, if it lists none, those of its price list.
    fn models_of<'n>(&'n self, provider: &'n ProviderSettings) -> Vec<&'n str> {
        match &provider.models {
            Some(listed) => listed.iter().map(String::as_str).collect(),
            None => self.catalog.models(price_list(provider)).collect(),
        }
    }

    /// "Did you mean", by the names of this configuration or else of the price list of the provider that is named.
    fn meant(&self, name: &str) -> String {
        let listed = name.split_once('/').and_then(|(named, _)| {
            let provider = self.providers.iter().find(|provider| provider.name == named)?;
            Some(self.models_of(provider).into_iter().map(move |model| format!("{named}/{model}")).collect::<Vec<_>>())
        });
        let listed = listed.unwrap_or_default();
        suggestion::phrase(name, self.names.iter().chain(&listed).map(String::as_str))
    }
}

fn price_list(provider: &ProviderSettings) -> &str {
    provider.price_as.as_deref().unwrap_or_else(|| provider.kind.as_str())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const FILE: &str = r#"
providers:
  openai: {dialect: openai, api_key: "${KEY}"}
  mistral-eu: {preset: mistral, api_key: "${KEY}"}
  claude: {dialect: anthropic, api_key: "${KEY}"}
  own: {dialect: openai, base_url: "http://127.0.0.1:1/v1", models: [llama-4, e5-embed]}
  any: {dialect: openai, base_url: "http://127.0.0.1:2/v1"}
models:
  assistant: {targets: [openai/gpt-5, own/llama-4]}
  vectors: {targets: [assistant]}
"#;

    fn remarks(rest: &str) -> Vec<String> {
        let environment = |name: &str| (name == "KEY").then(|| "secret".to_owned());
        let config = Config::parse(FILE, PathBuf::from("."), environment).unwrap();
        let access = if rest.contains("access:") { "" } else { "access: [{id: all, when: 'true', allow: {}}]\n" };
        let yaml = format!("apiVersion: tollgate/v1\nbundle: {{name: t}}\n{access}{rest}");
        let bundle = tollgate_policy::bundle::load(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        let remarks = config.remarks_on(&bundle, &Catalog::builtin().unwrap());
        remarks.iter().map(ToString::to_string).collect()
    }

    fn allowed(models: &str) -> Vec<String> {
        remarks(&format!("access: [{{id: a, when: 'true', allow: {{models: [{models}]}}}}]\n"))
    }

    fn is(found: &[String], parts: &[&str]) {
        let [remark] = found else { panic!("{found:?}") };
        for part in parts {
            assert!(remark.contains(part), "`{part}` is not in: {remark}");
        }
    }

    #[test]
    fn models_that_an_access_rule_allows_and_nobody_has_are_located_with_the_one_that_was_meant() {
        let known = "assistant, openai/gpt-5, openai/gpt-5-2025-08-07, llama-4, own/llama-4, 'openai/*', 'openai/gpt-5*', 'o*', 'any/*', \
                     any/whatever, 'mistral-eu/mistral-*', '*'";
        assert_eq!(allowed(known), [""; 0]);
        is(&allowed("assistnat"), &["line 3, column 49: rule `a` allows `assistnat`", "did you mean `assistant`?"]);
        is(
            &allowed("openai/gpt-5-minni"),
            &["column 49", "no model `gpt-5-minni`", "did you mean `openai/gpt-5-mini`?"],
        );
        is(&allowed("own/llama4"), &["`own/llama4`, which is neither", "did you mean `own/llama-4`?"]);
        is(&allowed("opnai/gpt-5"), &["`opnai/gpt-5`, which is neither", "did you mean `openai/gpt-5`?"]);
        is(&allowed("'mistal-eu/*'"), &["`mistal-eu/*`", "did you mean `mistral-eu/*`?"]);
        is(&allowed("'openai/gtp-5*'"), &["`openai/gtp-5*`", "did you mean `openai/gpt-5*`?"]);
        is(&allowed("'asistant*'"), &["`asistant*`", "did you mean `assistant`?"]);
        assert_eq!(allowed("assistnat, opnai/gpt-5").len(), 2);
    }

    #[test]
    fn what_routes_and_experiments_name_is_looked_at_too() {
        let route = |alias: &str, rest: &str| remarks(&format!("routes: [{{id: r, alias: {alias}, {rest}}}]\n"));
        assert_eq!(route("cheap", "targets: [openai/gpt-5]"), [""; 0]);
        assert_eq!(route("assistant", "targets: [openai/gpt-5, any/thing]"), [""; 0]);
        is(
            &route("asistant", "targets: [openai/gpt-5]"),
            &["line 4, column 25: route `r`", "did you mean `assistant`"],
        );
        is(
            &route("cheap", "targets: [openai/gpt5-mini]"),
            &["no model `gpt5-mini`", "did you mean `openai/gpt-5-mini`?"],
        );
        is(
            &route("cheap", "targets: [openai/gpt-5], shadow: {to: own/lama-4, share: 0.1}"),
            &["route `r` copies calls to `own/lama-4`", "did you mean `own/llama-4`?"],
        );
        let experiment = |alias: &str| {
            let arms = "[{name: a, weight: 1, target: openai/gpt-5}, {name: b, weight: 1, target: own/llama-4}]";
            remarks(&format!("experiments: [{{id: e, alias: {alias}, unit: key, arms: {arms}}}]\n"))
        };
        assert_eq!(experiment("assistant"), [""; 0]);
        assert_eq!(experiment("any/model"), [""; 0]);
        is(
            &experiment("assitant"),
            &["line 4, column 30: experiment `e`", "nobody takes part", "did you mean `assistant`?"],
        );
        let of_bundle = "routes: [{id: r, alias: cheap, targets: [openai/gpt-5]}]\nexperiments: [{id: e, alias: cheap, unit: key, \
                         arms: [{name: a, weight: 1, target: own/llama-4}, {name: b, weight: 1, route: r}]}]\n";
        assert_eq!(remarks(of_bundle), [""; 0], "an alias that the bundle itself makes is one");
        is(
            &remarks("limits: [{id: l, scope: {model: assitant}, limit: {calls: 1, per: day}}]\n"),
            &["line 4, column 33: `l` is about `assitant`", "did you mean `assistant`?"],
        );
    }

    #[test]
    fn a_cache_that_asks_a_chat_model_for_vectors_is_remarked_upon() {
        let cache = |model: &str| {
            remarks(&format!(
                "routes: [{{id: r, alias: assistant, targets: [openai/gpt-5], cache: {{ttl: 1h, semantic: {{model: {model}, \
                 threshold: 0.9}}}}}}]\n"
            ))
        };
        for fine in ["openai/text-embedding-3-small", "own/e5-embed", "any/thing", "mistral-eu/mistral-embed"] {
            assert_eq!(cache(fine), [""; 0], "{fine}");
        }
        is(
            &cache("openai/gpt-5"),
            &["line 4, column", "`openai/gpt-5`, and by the price list", "write one such as `mistral-eu/"],
        );
        is(&cache("claude/claude-sonnet-4-5"), &["can ask its provider `claude` for none"]);
        is(&cache("vectors"), &["`openai/gpt-5`, which `vectors` stands for, and by the price list"]);
        is(
            &cache("openai/text-embeding-3-small"),
            &["no model `text-embeding-3-small`", "`openai/text-embedding-3-small`?"],
        );
    }
}
