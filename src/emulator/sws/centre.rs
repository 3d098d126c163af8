//! Where tenants live: each data centre has a host for the tokens and one for the API.

/// One of the vendor's data centres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataCentre {
    /// `alero.io`.
    UnitedStates,
    /// `alero.eu`.
    EuropeanUnion,
    /// `ca.alero.io`.
    Canada,
    /// `au.alero.io`.
    Australia,
    /// `uk.alero.io`.
    UnitedKingdom,
    /// `in.alero.io`.
    India,
    /// `sg.alero.io`.
    Singapore,
    /// `ae.alero.io`.
    UnitedArabEmirates,
}

/// What a host of a data centre is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Auth,
    Api,
}

impl DataCentre {
    /// All of them.
    pub const ALL: [DataCentre; 8] = [
        DataCentre::UnitedStates,
        DataCentre::EuropeanUnion,
        DataCentre::Canada,
        DataCentre::Australia,
        DataCentre::UnitedKingdom,
        DataCentre::India,
        DataCentre::Singapore,
        DataCentre::UnitedArabEmirates,
    ];

    /// The domain, which is also what the data centre is called by.
    pub fn domain(self) -> &'static str {
        match self {
            DataCentre::UnitedStates => "alero.io",
            DataCentre::EuropeanUnion => "alero.eu",
            DataCentre::Canada => "ca.alero.io",
            DataCentre::Australia => "au.alero.io",
            DataCentre::UnitedKingdom => "uk.alero.io",
            DataCentre::India => "in.alero.io",
            DataCentre::Singapore => "sg.alero.io",
            DataCentre::UnitedArabEmirates => "ae.alero.io",
        }
    }

    /// The host of the authorization server.
    pub fn auth_host(self) -> String {
        format!("auth.{}", self.domain())
    }

    /// The host of the API.
    pub fn api_host(self) -> String {
        format!("api.{}", self.domain())
    }

    /// The realm's issuer: what assertions are addressed to, and where discovery starts from.
    pub fn issuer(self) -> String {
        format!("https://auth.{}/auth/realms/serviceaccounts", self.domain())
    }

    /// The token endpoint.
    pub fn token_endpoint(self) -> String {
        format!("{}/protocol/openid-connect/token", self.issuer())
    }

    pub(super) fn of_host(host: &str) -> Option<(Self, Side)> {
        let (side, domain) = host.split_once('.')?;
        let side = match side {
            "auth" => Side::Auth,
            "api" => Side::Api,
            _ => return None,
        };
        let mut all = Self::ALL.into_iter();
        let centre = all.find(|centre| centre.domain() == domain)?;
        Some((centre, side))
    }
}
