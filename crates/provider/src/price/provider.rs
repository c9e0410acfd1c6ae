//! One provider's prices as they are looked up. A model is found by its exact id, by a stated alias, or by its id plus a
//! snapshot date where the row says so; never by what its name contains.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::calendar::{Hours, civil_date};
use super::document::{CatalogDocument, CatalogError, ModelRow, PriceRow, Profile};
use super::rates::Rates;

#[derive(Clone, Debug, Default)]
pub(super) struct Provider {
    pub(super) models: Vec<Model>,
    by_name: HashMap<Box<str>, u32>,
    pub(super) rules: Rules,
    pub(super) is_override: bool,
}

/// How calls find their row.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    standard_tiers: Vec<String>,
    standard_regions: Vec<String>,
    other_regions: Option<String>,
    profiles: BTreeMap<String, Profile>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) id: Box<str>,
    dated_snapshots: bool,
    pub(super) context_tokens: Option<u32>,
    pub(super) max_output_tokens: Option<u32>,
    /// `None` if they are not known.
    pub(super) capabilities: Option<Box<[Box<str>]>>,
    /// In the order of their dates.
    pub(super) prices: Vec<Price>,
}

#[derive(Clone, Debug)]
pub(super) struct Price {
    /// First moment it is in force. Microseconds since 1970, UTC.
    pub(super) from_us: i64,
    pub(super) service_tier: Option<Arc<str>>,
    pub(super) region: Option<Arc<str>>,
    pub(super) hours: Option<Hours>,
    pub(super) source: Arc<str>,
    pub(super) rates: Rates,
    /// Rates for calls with more input tokens than this, in ascending order.
    pub(super) above: Box<[(u64, Rates)]>,
}

/// How a model was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// The id in the catalogue is the one of the call.
    Id,
    /// The catalogue gives the model this other name.
    Alias,
    /// The name with a date behind it; the catalogue says that its snapshots cost the same.
    Snapshot,
}

/// A model, and the region that the name of the call stated.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) provider: &'a Provider,
    pub(super) model: &'a Model,
    pub(super) by: FoundBy,
    profile: Option<(&'a str, Profile)>,
}

/// Why a found model has no row for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss<'a> {
    /// No row for this region.
    Region(&'a str),
    /// No row for this service tier.
    Tier(&'a str),
    /// All rows begin later, or hold at other hours.
    Moment,
}

impl Provider {
    pub(super) fn new(document: CatalogDocument, is_override: bool) -> Result<Provider, CatalogError> {
        let mut interned = Interned::default();
        let CatalogDocument { provider, source, sources, models, .. } = document;
        let rules = Rules {
            standard_tiers: document.standard_tiers,
            standard_regions: document.standard_regions,
            other_regions: document.other_regions,
            profiles: document.profiles,
        };
        let mut known = Provider { rules, is_override, ..Provider::default() };
        let default = interned.get(&source);
        for row in models {
            let (model, names) = Model::new(&provider, row, &default, &sources, &mut interned)?;
            let index = u32::try_from(known.models.len()).unwrap_or(u32::MAX);
            for name in std::iter::once(model.id.clone()).chain(names) {
                if let Some(first) = known.by_name.insert(name.clone(), index)
                    && first != index
                {
                    return Err(CatalogError::Twice { provider, model: name.into_string() });
                }
            }
            known.models.push(model);
        }
        known.by_name.shrink_to_fit();
        known.models.shrink_to_fit();
        Ok(known)
    }

    /// Adds the models of `other`, whose names take the place of the present ones.
    pub(super) fn extend(&mut self, other: Provider) {
        let offset = u32::try_from(self.models.len()).unwrap_or(u32::MAX);
        self.models.extend(other.models);
        self.by_name.extend(other.by_name.into_iter().map(|(name, index)| (name, index + offset)));
        if other.rules.is_stated() {
            self.rules = other.rules;
        }
    }

    /// The model of a call that names it `name`; first the whole name, then without a profile's prefix.
    pub(super) fn find<'a>(&'a self, name: &'a str) -> Option<Found<'a>> {
        let found = |model, by, profile| Found { provider: self, model, by, profile };
        if let Some((model, by)) = self.named(name) {
            return Some(found(model, by, None));
        }
        let (prefix, rest) = name.split_once('.')?;
        let profile = self.rules.profiles.get(prefix)?;
        let (model, by) = self.named(rest)?;
        Some(found(model, by, Some((prefix, *profile))))
    }

    /// Ids of the models, without those whose names others have taken.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| &*model.id).filter(|id| self.exactly(id).is_some_and(|model| *model.id == **id))
    }

    /// Whether a model or alias is called exactly so.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn named(&self, name: &str) -> Option<(&Model, FoundBy)> {
        if let Some(model) = self.exactly(name) {
            let by = if *model.id == *name { FoundBy::Id } else { FoundBy::Alias };
            return Some((model, by));
        }
        let model = self.exactly(without_date(name)?)?;
        model.dated_snapshots.then_some((model, FoundBy::Snapshot))
    }

    fn exactly(&self, name: &str) -> Option<&Model> {
        self.models.get(*self.by_name.get(name)? as usize)
    }
}

impl Rules {
    /// Whether a document says anything about how rows are found.
    pub(super) fn is_stated(&self) -> bool {
        let Rules { standard_tiers, standard_regions, other_regions, profiles } = self;
        !(standard_tiers.is_empty() && standard_regions.is_empty() && other_regions.is_none() && profiles.is_empty())
    }
}

/// What providers call the tier that nobody asked for: OpenAI, Anthropic, Groq. A file may name others.
const STANDARD_TIERS: [&str; 4] = ["default", "standard", "auto", "on_demand"];

impl<'a> Found<'a> {
    /// The row of a call. First the region is settled and then the tier within its rows: a region with rows of its own
    /// borrows no tier from another.
    pub(super) fn row(
        &self,
        region: Option<&'a str>,
        tier: Option<&'a str>,
        at_us: i64,
    ) -> Result<&'a Price, Miss<'a>> {
        let region = self.region(region)?;
        let standard = &self.provider.rules.standard_tiers;
        let is_standard = |tier: &str| STANDARD_TIERS.contains(&tier) || standard.iter().any(|name| name == tier);
        let tier = tier.filter(|tier| !is_standard(tier));
        self.model.select(region, tier, at_us)
    }

    /// Region of the rows that apply: the one stated by the name or else by the call, if there are rows for it, or else
    /// `other_regions`, or else none.
    fn region(&self, stated: Option<&'a str>) -> Result<Option<&'a str>, Miss<'a>> {
        let rules = &self.provider.rules;
        let has = |region: Option<&str>| self.model.prices.iter().any(|price| price.region.as_deref() == region);
        let stated = self.profile.map(|(prefix, _)| prefix).or(stated);
        let Some(name) = stated else {
            return if has(None) { Ok(None) } else { Err(Miss::Region("")) };
        };
        if has(stated) {
            return Ok(stated);
        }
        let others =
            rules.other_regions.as_deref().filter(|_| !rules.standard_regions.iter().any(|known| known == name));
        if others.is_some_and(|others| has(Some(others))) {
            return Ok(others);
        }
        let may_fall_back = self.profile.is_none_or(|(_, profile)| profile == Profile::Standard);
        if may_fall_back && has(None) { Ok(None) } else { Err(Miss::Region(name)) }
    }
}

impl Model {
    fn new(
        provider: &str,
        row: ModelRow,
        default: &Arc<str>,
        sources: &BTreeMap<String, String>,
        interned: &mut Interned,
    ) -> Result<(Model, impl Iterator<Item = Box<str>> + use<>), CatalogError> {
        let ModelRow { id, aliases, dated_snapshots, context_tokens, max_output_tokens, capabilities, prices, .. } =
            row;
        if prices.is_empty() {
            return Err(CatalogError::NoPrices { provider: provider.to_owned(), model: id });
        }
        let mut rows = Vec::with_capacity(prices.len());
        for price in prices {
            let source = match &price.source {
                Some(name) => interned.get(sources.get(name).unwrap_or(name)),
                None => Arc::clone(default),
            };
            let Some(row) = Price::new(&price, source, interned) else {
                return Err(CatalogError::Invalid { provider: provider.to_owned(), model: id, from: price.from });
            };
            rows.push(row);
        }
        rows.sort_by_key(|price| price.from_us);
        let id = id.into_boxed_str();
        let capabilities = capabilities.map(|known| known.into_iter().map(String::into_boxed_str).collect());
        let model = Model { id, dated_snapshots, context_tokens, max_output_tokens, capabilities, prices: rows };
        Ok((model, aliases.into_iter().map(String::into_boxed_str)))
    }

    /// The row of the newest date in force: the one whose hours contain the moment, or else the one without hours.
    fn select<'a>(&'a self, region: Option<&str>, tier: Option<&'a str>, at_us: i64) -> Result<&'a Price, Miss<'a>> {
        let mut has_tier = false;
        let mut in_force: Option<i64> = None;
        let mut best: Option<&Price> = None;
        for price in self.prices.iter().rev() {
            if price.region.as_deref() != region || price.service_tier.as_deref() != tier {
                continue;
            }
            has_tier = true;
            if price.from_us > at_us {
                continue;
            }
            if *in_force.get_or_insert(price.from_us) != price.from_us {
                break;
            }
            match price.hours {
                Some(hours) if hours.contain(at_us) => return Ok(price),
                Some(_) => {}
                None => best = best.or(Some(price)),
            }
        }
        let miss = if has_tier { Miss::Moment } else { Miss::Tier(tier.unwrap_or("standard")) };
        best.ok_or(miss)
    }

    /// The newest row without conditions.
    pub(super) fn newest(&self) -> Option<&Price> {
        let is_plain = |price: &&Price| price.region.is_none() && price.service_tier.is_none() && price.hours.is_none();
        self.prices.iter().rfind(is_plain)
    }
}

impl Price {
    /// `None` if the date or the hours are not valid.
    fn new(row: &PriceRow, source: Arc<str>, interned: &mut Interned) -> Option<Price> {
        let mut above: Box<[_]> = row.above.iter().map(|tier| (tier.input_tokens, tier.rates)).collect();
        above.sort_by_key(|(input_tokens, _)| *input_tokens);
        Some(Price {
            from_us: row.in_force_from_us()?,
            service_tier: row.service_tier.as_deref().map(|tier| interned.get(tier)),
            region: row.region.as_deref().map(|region| interned.get(region)),
            hours: row.hours().ok()?,
            source,
            rates: row.rates,
            above,
        })
    }

    /// The rates for a call with so many input tokens, and the limit it is above.
    pub(super) fn rates_for(&self, input_tokens: Option<u64>) -> (&Rates, Option<u64>) {
        let reached = self.above.iter().rev().find(|(limit, _)| input_tokens.is_some_and(|input| input > *limit));
        reached.map_or((&self.rates, None), |(limit, rates)| (rates, Some(*limit)))
    }

    /// `release` or the date.
    pub(super) fn from(&self) -> String {
        let mut text = String::new();
        self.write_from(&mut text);
        text
    }

    fn write_from(&self, text: &mut String) {
        const US_PER_DAY: i64 = 86_400_000_000;
        if self.from_us == i64::MIN {
            text.push_str("release");
            return;
        }
        let (year, month, day) = civil_date(self.from_us.div_euclid(US_PER_DAY));
        let digits = |text: &mut String, number: i64, width: u32| {
            for place in (0..width).rev() {
                text.push(char::from(b'0' + (number / 10_i64.pow(place)).rem_euclid(10) as u8));
            }
        };
        digits(text, year, 4);
        for part in [month, day] {
            text.push('-');
            digits(text, part, 2);
        }
    }

    /// `provider/model@date`, then what sets the row apart (`?tier=batch&region=eu&hours=16:30-00:30`), then
    /// `+override` if it is the operator's own.
    pub(super) fn id(&self, provider: &str, model: &str, is_override: bool) -> String {
        let mut id = String::with_capacity(provider.len() + model.len() + 64);
        id.push_str(provider);
        id.push('/');
        id.push_str(model);
        id.push('@');
        self.write_from(&mut id);
        let mut mark = '?';
        for (name, value) in [("tier=", &self.service_tier), ("region=", &self.region)] {
            if let Some(value) = value {
                id.push(mark);
                id.push_str(name);
                id.push_str(value);
                mark = '&';
            }
        }
        if let Some(hours) = self.hours {
            use std::fmt::Write as _;
            id.push(mark);
            let _ = write!(id, "hours={hours}");
        }
        if is_override {
            id.push_str("+override");
        }
        id
    }
}

/// Each text once: hundreds of rows share a tier, a region or a source.
#[derive(Default)]
struct Interned(HashSet<Arc<str>>);

impl Interned {
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

/// `model` without a trailing `-YYYYMMDD` or `-YYYY-MM-DD`, if it ends in one.
fn without_date(model: &str) -> Option<&str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (name, last) = model.rsplit_once('-')?;
    if last.len() == 8 && digits(last) {
        return Some(name);
    }
    let (name, month) = name.rsplit_once('-')?;
    let (name, year) = name.rsplit_once('-')?;
    let shaped = last.len() == 2 && month.len() == 2 && year.len() == 4;
    (shaped && digits(last) && digits(month) && digits(year)).then_some(name)
}
