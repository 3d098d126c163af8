//! Where tenants live. Nothing moves between regions: each has its own host, and each host knows
//! its own applications only.

/// One of the vendor's regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// North America.
    NorthAmerica,
    /// Asia-Pacific, north.
    AsiaPacificNorth,
    /// Asia-Pacific, south-east.
    AsiaPacificSouthEast,
    /// Central Europe.
    EuropeCentral,
    /// South America.
    SouthAmerica,
    /// The government of the United States. Some clients have `protectapi-us` for its host.
    UsGovernment,
}

impl Region {
    /// All of them.
    pub const ALL: [Region; 6] = [
        Region::NorthAmerica,
        Region::AsiaPacificNorth,
        Region::AsiaPacificSouthEast,
        Region::EuropeCentral,
        Region::SouthAmerica,
        Region::UsGovernment,
    ];

    /// The host of the region's user API.
    pub fn host(self) -> &'static str {
        match self {
            Region::NorthAmerica => "protectapi.cylance.com",
            Region::AsiaPacificNorth => "protectapi-apne1.cylance.com",
            Region::AsiaPacificSouthEast => "protectapi-au.cylance.com",
            Region::EuropeCentral => "protectapi-euc1.cylance.com",
            Region::SouthAmerica => "protectapi-sae1.cylance.com",
            Region::UsGovernment => "protectapi.us.cylance.com",
        }
    }

    /// What the multi-tenant console calls the region; it has no name for the government's.
    pub fn console_code(self) -> Option<&'static str> {
        match self {
            Region::NorthAmerica => Some("us"),
            Region::AsiaPacificNorth => Some("jp"),
            Region::AsiaPacificSouthEast => Some("au"),
            Region::EuropeCentral => Some("eu"),
            Region::SouthAmerica => Some("sp"),
            Region::UsGovernment => None,
        }
    }

    pub(super) fn of_host(host: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|region| region.host() == host)
    }

    pub(super) fn of_console_code(code: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|region| region.console_code() == Some(code))
    }

    /// Whether a request to this host may be meant for the region. Only the vendor's own host names
    /// say which region was asked for: an address says nothing.
    pub(super) fn answers_at(self, host: &str) -> bool {
        Self::of_host(host).is_none_or(|region| region == self)
    }
}
