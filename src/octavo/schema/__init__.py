"""What is written to disk or handed to reports: records, and nothing that makes them."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A record of what is written to disk: frozen; unknown fields, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
