//! The layers of `helm-values/`: what each says, and what the official charts make of each combination.

pub(crate) mod crds;
pub(crate) mod layers;
pub(crate) mod manifests;
pub(crate) mod rendered;
pub(crate) mod topics;

/// The plugin server beside Kong.
pub(crate) const SIDECAR: &str = "plugin-sidecar.yaml";
/// The plugins' schemas alone.
pub(crate) const SCHEMA_ONLY: &str = "plugin-schema-only.yaml";
/// The topology that repeats the sidecar for the chart `kong/ingress`.
pub(crate) const INGRESS_CHART: &str = "values-ingress-chart.yaml";

/// Files of `helm-values/` that are made to be installed together.
#[derive(Debug)]
pub(crate) struct Combination {
    pub(crate) layers: &'static [&'static str],
}

impl Combination {
    /// Its name in messages: what follows `-f`.
    pub(crate) fn name(&self) -> String {
        self.layers.join(" + ")
    }

    pub(crate) fn is_for_the_ingress_chart(&self) -> bool {
        self.layers == [INGRESS_CHART]
    }
}

/// Every combination that the layers' heads name.
pub(crate) const COMBINATIONS: &[Combination] = &[
    Combination {
        layers: &[SIDECAR, "values-dbless.yaml"],
    },
    Combination {
        layers: &[SIDECAR, "values-postgres.yaml"],
    },
    Combination {
        layers: &[SIDECAR, "values-ingress-controller.yaml"],
    },
    Combination {
        layers: &[INGRESS_CHART],
    },
    Combination {
        layers: &[SCHEMA_ONLY, "values-hybrid-control-plane.yaml"],
    },
    Combination {
        layers: &[SIDECAR, "values-hybrid-data-plane.yaml"],
    },
    Combination {
        layers: &[
            SIDECAR,
            "values-dbless.yaml",
            "values-tls-cert-manager.yaml",
            "values-scale.yaml",
            "values-monitoring.yaml",
        ],
    },
    Combination {
        layers: &[
            SIDECAR,
            "values-postgres.yaml",
            "values-tls-cert-manager.yaml",
            "values-scale.yaml",
            "values-monitoring.yaml",
        ],
    },
    Combination {
        layers: &[
            SIDECAR,
            "values-ingress-controller.yaml",
            "values-tls-cert-manager.yaml",
            "values-scale.yaml",
            "values-monitoring.yaml",
        ],
    },
    Combination {
        layers: &[
            SIDECAR,
            "values-hybrid-data-plane.yaml",
            "values-scale.yaml",
            "values-monitoring.yaml",
        ],
    },
];
