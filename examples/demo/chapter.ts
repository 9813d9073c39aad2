import type { Metrics } from "./metrics.js";
import type { Shop } from "./shop.js";
import type { Story } from "./story.js";

export interface Stage {
  story: Story;
  shop: Shop;
  /** Of all that happened since the first chapter. */
  metrics: Metrics;
}

export interface Chapter {
  title: string;
  tell(stage: Stage): Promise<void>;
}
