//! What an entry of `providers` comes to, once what it leaves open has been filled in: from the preset of its name, from
//! the environment's usual variables, and from Google's files of credentials. A key from the environment goes to the
//! provider it belongs to and nowhere else.

use std::path::Path;

use fs_err as fs;
use serde_saphyr::{Location, Spanned};
use tollgate_gateway::{Credentials, Secret, TokenSource, check_authorities, read_credentials};
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_policy::suggestion;
use tollgate_provider::preset::{Preset, Presets};

use self::keyless::{Entry, Keyless};
use super::mistake;
use super::provider::{EntraCredentials, GoogleCredentials, Provider, ProviderDialect};

mod keyless;

const ENTRA: &str = "https://login.microsoftonline.com";
const COGNITIVE_SERVICES: &str = "https://cognitiveservices.azure.com/.default";

/// An entry, filled in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) dialect: ProviderDialect,
    pub(crate) preset: Option<Preset>,
    /// Empty for the sandbox.
    pub(crate) base_url: String,
    pub(crate) credentials: Credentials,
    pub(crate) region: Option<String>,
    pub(crate) project: Option<String>,
    /// Authorities that are believed beside the usual ones.
    pub(crate) authorities_pem: Option<String>,
    /// What may keep its calls from being answered.
    pub(crate) doubt: Option<SourceError>,
}

impl Known {
    /// # Errors
    /// [`SourceError`] says which part of the entry is missing or wrong.
    pub(crate) fn of(
        provider: &Provider,
        name: &str,
        presets: &Presets,
        folder: &Path,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> Result<Known, SourceError> {
        let filling = Filling { provider, name, folder, environment: &|name: &str| environment(name) };
        if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
            return filling.refuse("cannot be told from a model; a provider's name is not empty and holds no `/`");
        }
        let (dialect, preset) = filling.kind(presets)?;
        let region = filling.region(dialect)?;
        let (credentials, project) = filling.credentials(dialect, preset.as_ref())?;
        let base_url = filling.base_url(dialect, preset.as_ref(), region.as_deref())?;
        let project = provider.project.clone().or(project).or_else(|| filling.variable("GOOGLE_CLOUD_PROJECT"));
        if dialect == ProviderDialect::Vertex && project.is_none() {
            return filling.refuse("has no `project`; name Google's project that calls are made in");
        }
        let authorities_pem = filling.authorities(&base_url)?;
        let doubt = match &credentials {
            Credentials::None => filling.keyless(dialect, preset.as_ref(), &base_url)?,
            _ => None,
        };
        Ok(Known { dialect, preset, base_url, credentials, region, project, authorities_pem, doubt })
    }
}

/// An entry that is being filled in.
struct Filling<'a> {
    provider: &'a Provider,
    name: &'a str,
    folder: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Filling<'_> {
    fn at(&self) -> Location {
        self.provider.at.unwrap_or(Location::UNKNOWN)
    }

    fn refuse<T>(&self, what: &str) -> Result<T, SourceError> {
        Err(mistake(self.at(), format!("provider `{}` {what}", self.name)))
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    fn first_variable(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.variable(name))
    }

    /// Whose API it has, and which preset it is.
    fn kind(&self, presets: &Presets) -> Result<(ProviderDialect, Option<Preset>), SourceError> {
        let Provider { dialect, preset, .. } = self.provider;
        if let Some(written) = preset {
            let Some(found) = presets.find(&written.value) else {
                let meant = suggestion::phrase(&written.value, presets.names());
                let message =
                    format!("there is no preset `{}`, which provider `{}` names{meant}", written.value, self.name);
                return Err(mistake(written.referenced, message));
            };
            if dialect.is_some_and(|dialect| dialect != ProviderDialect::Openai) {
                let message = format!("the preset `{}` speaks OpenAI's dialect; drop `dialect`", written.value);
                return Err(mistake(written.referenced, message));
            }
            return Ok((ProviderDialect::Openai, Some(found.clone())));
        }
        if let Some(dialect) = dialect {
            return Ok((*dialect, None));
        }
        if let Some(dialect) = ProviderDialect::named(self.name) {
            return Ok((dialect, None));
        }
        if let Some(found) = presets.find(self.name) {
            return Ok((ProviderDialect::Openai, Some(found.clone())));
        }
        let known = ProviderDialect::ALL.iter().map(|(name, _)| *name).chain(presets.names());
        let meant = suggestion::phrase(self.name, known);
        self.refuse(&format!("has neither `dialect` nor `preset`, and no known provider has its name{meant}"))
    }

    fn region(&self, dialect: ProviderDialect) -> Result<Option<String>, SourceError> {
        let written = self.provider.region.clone();
        let region = match dialect {
            ProviderDialect::Bedrock => written.or_else(|| self.first_variable(&["AWS_REGION", "AWS_DEFAULT_REGION"])),
            ProviderDialect::Vertex => written.or_else(|| self.variable("GOOGLE_CLOUD_LOCATION")),
            _ => written,
        };
        let is_placed = self.provider.base_url.is_some() && self.provider.aws.is_none();
        match (dialect, &region) {
            (ProviderDialect::Bedrock, None) if !is_placed => {
                self.refuse("is Amazon Bedrock and has no `region`; name the one to call, such as `eu-central-1`")
            }
            (ProviderDialect::Vertex, None) => self.refuse(
                "is Google Vertex AI and has no `region`; name the one to call, such as `europe-west4` or `global`",
            ),
            _ => Ok(region),
        }
    }

    fn base_url(
        &self,
        dialect: ProviderDialect,
        preset: Option<&Preset>,
        region: Option<&str>,
    ) -> Result<String, SourceError> {
        if let Some(written) = &self.provider.base_url {
            return self.written_url(dialect, written);
        }
        if let Some(preset) = preset {
            return Ok(preset.base_url.clone());
        }
        let region = region.unwrap_or_default();
        Ok(match (dialect, region) {
            (ProviderDialect::Openai, _) => "https://api.openai.com/v1".to_owned(),
            (ProviderDialect::Anthropic, _) => "https://api.anthropic.com/v1".to_owned(),
            (ProviderDialect::Gemini, _) => "https://generativelanguage.googleapis.com/v1beta".to_owned(),
            (ProviderDialect::Bedrock, _) => format!("https://bedrock-runtime.{region}.amazonaws.com"),
            (ProviderDialect::Vertex, "global") => "https://aiplatform.googleapis.com".to_owned(),
            (ProviderDialect::Vertex, "us" | "eu") => format!("https://aiplatform.{region}.rep.googleapis.com"),
            (ProviderDialect::Vertex, _) => format!("https://{region}-aiplatform.googleapis.com"),
            (ProviderDialect::Sandbox, _) => String::new(),
            (ProviderDialect::Azure, _) => {
                return self.refuse(
                    "is Azure and has no `base_url`; write the resource's, such as `https://NAME.openai.azure.com`",
                );
            }
        })
    }

    /// The text of `ca_file`, looked at before anything is called.
    fn authorities(&self, base_url: &str) -> Result<Option<String>, SourceError> {
        let Some(written) = &self.provider.ca_file else { return Ok(None) };
        let refuse = |what: String| {
            Err(mistake(written.referenced, format!("the `ca_file` of provider `{}` {what}", self.name)))
        };
        if !base_url.starts_with("https:") {
            return refuse("is of no use: its `base_url` is not https, so no certificate is looked at".to_owned());
        }
        let pem = match fs::read_to_string(self.folder.join(&written.value)) {
            Ok(pem) => pem,
            // The error names the path and what the system said.
            Err(error) => return refuse(format!("cannot be read: {error}; a path is relative to this file")),
        };
        match check_authorities(&pem) {
            Ok(()) => Ok(Some(pem)),
            Err(error) => refuse(format!("(`{}`) cannot be used: {error}", written.value)),
        }
    }

    /// What speaks against an entry without credentials, if it is not refused.
    fn keyless(
        &self,
        dialect: ProviderDialect,
        preset: Option<&Preset>,
        base_url: &str,
    ) -> Result<Option<SourceError>, SourceError> {
        let variable = match (dialect, preset) {
            (_, Some(preset)) => preset.key.as_deref(),
            (ProviderDialect::Openai, None) => Some("OPENAI_API_KEY"),
            (ProviderDialect::Anthropic, None) => Some("ANTHROPIC_API_KEY"),
            (ProviderDialect::Gemini, None) => Some("GEMINI_API_KEY"),
            _ => None,
        };
        let is_elsewhere = self.provider.base_url.is_some();
        let own = preset.filter(|preset| preset.key.is_some()).map(|preset| preset.base_url.as_str());
        match keyless::judge(&Entry { dialect, base_url, own, is_elsewhere, variable }) {
            Keyless::Fine => Ok(None),
            Keyless::Hopeless(what) => self.refuse(&what),
            Keyless::Doubtful(what) => Ok(Some(mistake(self.at(), format!("provider `{}` {what}", self.name)))),
        }
    }

    fn written_url(&self, dialect: ProviderDialect, written: &Spanned<String>) -> Result<String, SourceError> {
        let name = self.name;
        let refuse = |message: String| Err(mistake(written.referenced, message));
        if dialect == ProviderDialect::Sandbox {
            return refuse(format!("provider `{name}` is the built-in sandbox, which has no address; drop `base_url`"));
        }
        match url::Url::parse(&written.value) {
            // As the gateway takes addresses.
            Ok(url) if url.query().is_some() || url.fragment().is_some() => refuse(format!(
                "the `base_url` of provider `{name}` ends in a query; write it up to and without the `?` or `#`"
            )),
            Ok(url) if !url.username().is_empty() || url.password().is_some() => refuse(format!(
                "the `base_url` of provider `{name}` holds a name or password; write the key as `api_key`"
            )),
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(written.value.clone()),
            _ => refuse(format!("`{}` is not an http or https URL, which provider `{name}` needs", written.value)),
        }
    }

    /// How the gateway shows who it is, and the project that goes with it.
    fn credentials(
        &self,
        dialect: ProviderDialect,
        preset: Option<&Preset>,
    ) -> Result<(Credentials, Option<String>), SourceError> {
        if let Some(key) = &self.provider.api_key {
            if !key.value.chars().all(|character| character == ' ' || character.is_ascii_graphic()) {
                let message = format!(
                    "the `api_key` of provider `{}` holds a character that no header may hold; look for a line break at its end",
                    self.name
                );
                return Err(mistake(key.referenced, message));
            }
            return Ok((Credentials::Key(Secret::new(key.value.clone())), None));
        }
        let key = |names: &[&str]| self.first_variable(names).map(|key| Credentials::Key(Secret::new(key)));
        // What is the provider's own goes to its own address.
        let is_own = self.provider.base_url.is_none();
        let usual = |names: &[&str]| key(names).filter(|_| is_own).unwrap_or_default();
        let credentials = match dialect {
            ProviderDialect::Openai => match preset {
                Some(preset) => self.key_of(preset, is_own)?,
                None => usual(&["OPENAI_API_KEY"]),
            },
            ProviderDialect::Anthropic => usual(&["ANTHROPIC_API_KEY"]),
            ProviderDialect::Gemini => usual(&["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
            ProviderDialect::Azure => match self.entra() {
                Some(source) => Credentials::Token(source),
                // Its address is always written, and is Azure's by `dialect`.
                None => key(&["AZURE_OPENAI_API_KEY"]).unwrap_or_default(),
            },
            ProviderDialect::Bedrock => self.amazon(is_own, usual(&["AWS_BEARER_TOKEN_BEDROCK"])),
            ProviderDialect::Vertex => return self.google(),
            ProviderDialect::Sandbox => Credentials::None,
        };
        Ok((credentials, None))
    }

    fn key_of(&self, preset: &Preset, is_own: bool) -> Result<Credentials, SourceError> {
        let Some(name) = preset.key.as_deref().filter(|_| is_own) else { return Ok(Credentials::None) };
        match self.variable(name) {
            Some(key) => Ok(Credentials::Key(Secret::new(key))),
            None => self.refuse(&format!("has no `api_key`, and the environment variable `{name}` is not set")),
        }
    }

    fn amazon(&self, is_own: bool, bearer: Credentials) -> Credentials {
        if let Some(aws) = &self.provider.aws {
            return Credentials::Aws {
                access_key_id: aws.access_key_id.value.clone(),
                secret_access_key: Secret::new(aws.secret_access_key.value.clone()),
                session_token: aws.session_token.as_ref().map(|token| Secret::new(token.value.clone())),
            };
        }
        if bearer != Credentials::None || !is_own {
            return bearer;
        }
        let (Some(access_key_id), Some(secret)) =
            (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY"))
        else {
            return Credentials::None;
        };
        let session_token = self.variable("AWS_SESSION_TOKEN").map(Secret::new);
        Credentials::Aws { access_key_id, secret_access_key: Secret::new(secret), session_token }
    }

    fn entra(&self) -> Option<TokenSource> {
        if let Some(written) = &self.provider.azure {
            let EntraCredentials { tenant_id, client_id, client_secret, authority, scope } = written;
            return Some(TokenSource::Entra {
                authority: authority.as_ref().map_or(ENTRA, |authority| &authority.value).to_owned(),
                tenant_id: tenant_id.value.clone(),
                client_id: client_id.value.clone(),
                client_secret: Secret::new(client_secret.value.clone()),
                scope: scope.as_deref().unwrap_or(COGNITIVE_SERVICES).to_owned(),
            });
        }
        // A key of the environment is the simpler way, where there are both.
        if self.variable("AZURE_OPENAI_API_KEY").is_some() {
            return None;
        }
        Some(TokenSource::Entra {
            authority: self.variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| ENTRA.to_owned()),
            tenant_id: self.variable("AZURE_TENANT_ID")?,
            client_id: self.variable("AZURE_CLIENT_ID")?,
            client_secret: Secret::new(self.variable("AZURE_CLIENT_SECRET")?),
            scope: COGNITIVE_SERVICES.to_owned(),
        })
    }

    fn google(&self) -> Result<(Credentials, Option<String>), SourceError> {
        let written = self.provider.google.clone().unwrap_or_default();
        let GoogleCredentials { service_account_file, service_account_json, metadata_server } = written;
        match (service_account_file, service_account_json, metadata_server) {
            (Some(path), None, None) => self.google_file(&self.folder.join(&path.value), path.referenced),
            (None, Some(json), None) => self.google_json(&json.value, json.referenced),
            (None, None, Some(url)) => {
                Ok((Credentials::Token(TokenSource::MetadataServer { url: url.value.clone() }), None))
            }
            (None, None, None) => match self.variable("GOOGLE_APPLICATION_CREDENTIALS") {
                Some(path) => self.google_file(Path::new(&path), self.at()),
                None => self.refuse(
                    "is Google Vertex AI and has no credentials; name `google.service_account_file`, \
                     `google.metadata_server`, or set GOOGLE_APPLICATION_CREDENTIALS to the path of a key file",
                ),
            },
            _ => self.refuse("has more than one of the credentials under `google`; keep one"),
        }
    }

    fn google_file(&self, path: &Path, at: Location) -> Result<(Credentials, Option<String>), SourceError> {
        // The error names the path and what the system said.
        let text = fs::read_to_string(path).map_err(|error| {
            mistake(at, format!("the credentials of provider `{}` cannot be read: {error}", self.name))
        })?;
        self.google_json(&text, at)
    }

    fn google_json(&self, text: &str, at: Location) -> Result<(Credentials, Option<String>), SourceError> {
        let (source, project) =
            read_credentials(text).map_err(|error| mistake(at, format!("provider `{}`: {error}", self.name)))?;
        Ok((Credentials::Token(source), project))
    }
}

#[cfg(test)]
mod tests;
